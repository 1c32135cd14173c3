"""Measurements that anyone can run again; their tables are in results/."""

import time

STARTED = time.perf_counter()  # about when the process did: nothing is imported before
