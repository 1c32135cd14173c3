"""Trained networks in use: evaluation, and predictions on images of the user's own."""
