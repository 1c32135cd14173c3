"""Trains tiny configs and compares what the runs leave behind."""

import csv
import json
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import Trainer, build_trainer

SILENT = Progress('silent')
TIMED = ('images_per_second', 'epoch_seconds')


def rows_of(run: pathlib.Path) -> list[dict[str, str]]:
  """metrics.csv without the columns that depend on the clock."""
  with (run / 'metrics.csv').open(newline='') as file:
    return [
      {name: text for name, text in row.items() if name not in TIMED}
      for row in csv.DictReader(file)
    ]


def state_of(config: ConfigDict, run: pathlib.Path, which: str = 'latest'):
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  trainer = build_trainer(config, splits)
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore(trainer.abstract_state(), which)
  assert restored is not None
  return restored[0]


def assert_identical(left, right) -> None:
  """Every array of two states equal to the last bit."""
  jax.tree.map(np.testing.assert_array_equal, left, right)


def changed(config: ConfigDict, **values) -> ConfigDict:
  copy = ConfigDict(config.copy_and_resolve_references())
  copy.update_from_flattened_dict(values)
  return copy.lock()


def trainer_on(config, devices: int, **values) -> tuple[Trainer, data.Splits]:
  config = changed(config, devices=devices, **values)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  return build_trainer(config, splits), splits


def assert_close(one, other, tolerance: float = 1e-5) -> None:
  """States whose every array differs by at most so much of its norm, after the same steps."""
  assert int(one.step) == int(other.step)
  for name in ('params', 'batch_stats', 'opt_state', 'metrics'):
    expected, found = (jax.tree.leaves_with_path(getattr(s, name)) for s in (one, other))
    for (path, a), (_, b) in zip(expected, found, strict=True):
      a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
      difference, norm = np.linalg.norm(a - b), np.linalg.norm(a)
      assert difference <= tolerance * norm, (name, jax.tree_util.keystr(path))


def resumed(config, run: pathlib.Path, capsys) -> str:
  """Trains to the end; returns what was printed beside the usual."""
  capsys.readouterr()
  loop.train(config, run, Progress('lines'))
  return capsys.readouterr().out


def assert_as_uninterrupted(config, run: pathlib.Path, whole: pathlib.Path) -> None:
  assert_identical(state_of(config, run), state_of(config, whole))
  assert_identical(state_of(config, run, 'best'), state_of(config, whole, 'best'))
  assert rows_of(run) == rows_of(whole)
  left, right = (json.loads((at / 'summary.json').read_text()) for at in (run, whole))
  for name in ('best_epoch', 'best_val_loss', 'last_epoch', 'test_loss', 'steps'):
    assert left[name] == right[name]
