"""A trained classifier as a page and as an HTTP service."""
