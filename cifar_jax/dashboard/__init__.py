"""Runs and studies on one page while they train, and the same page as a file."""
