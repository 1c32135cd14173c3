"""What a process forked by tests/helpers/warm_process.py finds imported; JAX has not started."""

import os

os.environ['JAX_PLATFORMS'] = 'cpu'

import tqdm  # noqa: E402

from tests.helpers import killed_run, states  # noqa: E402, F401

tqdm.tqdm.get_lock()  # else each process makes one, and a killed one leaves it behind
