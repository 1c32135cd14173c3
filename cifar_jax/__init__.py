"""A functional training toolkit for small-image classification on JAX."""

__version__ = '0.1.0'
