"""The report: what runs and studies came to, as one page that needs no network."""
