"""Tables of finished runs in results/; every module here is a verb of `python -m benchmarks`."""
