"""Networks to and from other programs: files that they open, and files that they wrote."""
