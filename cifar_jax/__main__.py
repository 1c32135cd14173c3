"""Lets `python -m cifar_jax` work."""

from cifar_jax.cli import main

main()
