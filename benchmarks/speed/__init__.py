"""How fast training is, and beside what; every module here is a verb of `python -m benchmarks`."""
