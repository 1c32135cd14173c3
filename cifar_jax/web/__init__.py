"""What the pages that this package serves have in common: an HTTP server, and who may ask it."""
