"""Lets `python -m benchmarks` work."""

from cifar_jax.startup import process

process.prepare(patient=False)

from benchmarks.command_line import main  # noqa: E402

main()
process.finish()
