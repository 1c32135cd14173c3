"""Lets `python -m cifar_jax` work."""

from cifar_jax.commands import main

main()
