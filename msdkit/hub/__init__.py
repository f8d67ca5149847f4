"""What lies elsewhere: addresses, downloads, archives, packages, the zoo."""
