"""One trainer for all trainings of an equal config on equal data, so that its programs are traced
once: tracing them takes four times as long as a tiny training itself.

What a run remembers is in its folder and in its state; a trainer has none. Trainings that begin in
processes of their own, as users' do, are in tests/trainer/test_resume.py.
"""

import collections
import contextlib
import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.analysis import layer_table
from cifar_jax.config import flatten
from cifar_jax.data import Splits
from cifar_jax.trainer import loop, together
from cifar_jax.trainer.build import Trainer, build_trainer
from tests.helpers import runs

KEPT = 16  # the last used ones
_trainers: collections.OrderedDict[Any, Trainer] = collections.OrderedDict()


def shared_trainer(config: ConfigDict, splits: Splits) -> Trainer:
  """The trainer that was built of an equal config and equal training examples, or a new one."""
  train = splits.train
  images, labels = (np.asarray(rows[:]) for rows in (train.images, train.labels))
  examples = hashlib.sha256(images.tobytes() + labels.tobytes()).digest()
  facts = (train.images.shape, splits.class_names, len(splits.validation), len(splits.test))
  key = (repr(sorted(flatten(config))), examples, facts)
  if key not in _trainers:
    _trainers[key] = build_trainer(config, splits)
    if len(_trainers) > KEPT:
      _trainers.popitem(last=False)
  _trainers.move_to_end(key)
  return _trainers[key]


@contextlib.contextmanager
def trainers_shared() -> Iterator[None]:
  """Within it, `loop.train`, `together.train` and `runs.state_of` share their trainers."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, 'build_trainer', shared_trainer)
    patch.setattr(together, 'build_trainer', shared_trainer)
    patch.setattr(runs, 'build_trainer', shared_trainer)
    patch.setattr(layer_table, 'describe', _describe)
    yield


_describe = functools.lru_cache(KEPT)(layer_table.describe)
