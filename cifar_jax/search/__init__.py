"""Choosing configs by trials: searches and evolution, their storage, workers and results."""
