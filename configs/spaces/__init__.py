"""Spaces for `python -m cifar_jax search`: configs that ask a trial what to try."""
