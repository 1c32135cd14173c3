"""Trained networks for and from other software: exports, each with a proof that it is the same."""
