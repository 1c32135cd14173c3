"""Trained weights that come with the package: a model folder each, called zoo:NAME."""
