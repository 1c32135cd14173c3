"""What a process forked by tests/helpers/warm_process.py finds imported; JAX has not started."""

import os

os.environ['JAX_PLATFORMS'] = 'cpu'

import tqdm

from tests.helpers import killed_run, states  # noqa: F401

tqdm.tqdm.get_lock()  # else each process makes one, and a killed one leaves it behind
