"""Lets `python -m cifar_jax` work."""

from cifar_jax.startup import process

process.prepare(patient=False)

from cifar_jax.commands import main

main()
process.finish()
process.leave()
