"""The copy of a state that is written: apart from the devices, and the only one."""

import dataclasses
import tracemalloc

import jax
import numpy as np

from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.host_copy import on_host
from tests.helpers.runs import assert_identical
from tests.helpers.states import FACTS, make_state


def test_the_copy_shares_no_memory_with_the_devices() -> None:
  state = make_state(3)
  copy = on_host(state)
  for ours, theirs in zip(jax.tree.leaves(copy), jax.tree.leaves(state), strict=True):
    assert type(ours) is np.ndarray
    assert not np.shares_memory(ours, np.asarray(theirs))
  assert_identical(copy, state)


def test_saving_makes_no_second_copy_of_the_state(tmp_path) -> None:
  """Of 16 MB on the host no tenth is allocated again, by what NumPy tells of its arrays."""
  kernel = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
  state = dataclasses.replace(make_state(1), params={'kernel': kernel})
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(make_state(0), FACTS)  # imports
    tracemalloc.start()
    checkpoints.save(state, FACTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
  assert peak < kernel.nbytes / 10
