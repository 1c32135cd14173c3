"""Folders as runs and studies leave them, written without training."""

import csv
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.run_dir import history
from tests.helpers import tiny

ABOUT = {
  'format': configs.FORMAT,
  **{'data': 'tiny', 'data_source': 'a test', 'data_fingerprint': '12345678', 'split_note': ''},
  **{'train_examples': 180, 'validation_examples': 20, 'test_examples': 90},
  **{'class_names': list('abcd'), 'image_shape': [8, 8, 3], 'layers': 3, 'parameters': 532},
  **{'non_trainable_params': 24, 'macs': 22_656},
}


def row(epoch: int, **values: float) -> dict[str, float]:
  usual = [6 * epoch, epoch, 1 / epoch, 0.9 - 0.4 / epoch, 1.1 / epoch, 0.8 - 0.4 / epoch, 1e-3]
  return dict(zip(history.COLUMNS, [*usual, 1000.0, 2.0], strict=True)) | values


def write_run(
  run: pathlib.Path, done: int, epochs: int = 3, better: float = 0.0, **options: Any
) -> pathlib.Path:
  """A run with some epochs done, finished if these are all.

  Args:
    better: Added to each accuracy on the validation images.
    options: Of the config, with __ for the point.
  """
  config = ConfigDict(tiny.get_config().copy_and_resolve_references())
  named = {name.replace('__', '.'): value for name, value in options.items()}
  config.update_from_flattened_dict({'epochs': epochs, **named})
  run.mkdir(parents=True)
  configs.save(config, run)
  (run / 'about.json').write_text(json.dumps(ABOUT))
  rows = [row(epoch) for epoch in range(1, done + 1)]
  for each in rows:
    each['val_accuracy'] += better
  (run / 'metrics.csv').write_text(history._text_of(rows), newline='\r\n')
  if done == epochs:
    write_summary(run, config, rows)
  return run


def add_row(run: pathlib.Path, epoch: int, **values: float) -> None:
  history.append_row(run, [row(epoch, **values)])


def write_summary(run: pathlib.Path, config: ConfigDict, rows: list[dict[str, float]]) -> None:
  last = rows[-1]
  summary = {name: last[name] for name in last if name not in ('step', 'epoch', 'learning_rate')}
  summary |= {'test_loss': 1.0, 'test_accuracy': 0.5, 'split_note': '', 'max_steps': 0}
  summary |= {'epochs': config.epochs, 'steps': last['step'], 'seconds': 2.0 * len(rows)}
  summary |= {'seed': config.seed, 'command': 'launch.py', 'parameters': 532}
  (run / 'summary.json').write_text(json.dumps({'format': configs.FORMAT, **summary}))


def write_study(
  folder: pathlib.Path, trials: list[dict[str, Any]], kind: str = 'search'
) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  about = {'format': 1, 'kind': kind, 'space': 'configs/spaces/x.py', 'overrides': []}
  about |= {'objectives': ['val_accuracy'], 'storage': '', 'created': '2026-01-01T00:00:00'}
  (folder / 'study.json').write_text(json.dumps(about))
  names = ['number', 'state', 'reason', 'seconds', 'epochs', 'val_accuracy', 'run']
  names += sorted({name for trial in trials for name in trial if name.startswith('param.')})
  with (folder / 'trials.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows(trials)
  return folder
