"""What fills feature stores: files of others, and encoders."""
