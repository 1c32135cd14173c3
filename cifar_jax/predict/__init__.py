"""Trained networks in use: evaluation, predictions on pictures, the web page, lessons."""
