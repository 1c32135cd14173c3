"""A study whose training is made up, to be run in this process or as a command of its own:

  python -m tests.helpers.fake_study FOLDER --trials=20 --workers=2 [--storage=...] [--as_worker]

What `fake_train` finds follows from the config alone. It leaves what a storm is to be judged by:
each epoch that was made, and whether two processes were in a run at once.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
import types
from collections.abc import Sequence
from typing import Any

import filelock
import optuna
from ml_collections import ConfigDict

from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.search import show, study, supervisor, worker
from cifar_jax.search.budget import Budget
from cifar_jax.search.study import OpenStudy, Plan
from cifar_jax.utils.errors import exit_on_user_error
from configs import base

EPOCHS = 4
PLAN = Plan(kind='search', space='fake.py', sampler='random')


class Space:
  """Suggests one number, which becomes the learning rate."""

  def propose(self, trial: optuna.Trial, study: optuna.Study) -> ConfigDict:
    config = base.get_config()
    config.epochs = EPOCHS
    config.data.validation = '20'
    config.optimizer.learning_rate = trial.suggest_float('x', 0.0, 1.0)
    config.model = ConfigDict({'name': 'conv_net', 'widths': (), 'block': (), 'head': ('flatten',)})
    return config


def accuracy(x: float, epoch: int, seed: int = 0) -> float:
  """What a run with a learning rate has reached after an epoch."""
  return (1 - (x - 0.3) ** 2) * epoch / EPOCHS - 0.01 * seed


def fake_train(
  config: ConfigDict,
  run: pathlib.Path,
  progress: Any = None,
  extra_callbacks: Sequence[Any] = (),
  stop: Stop | None = None,
  epoch_seconds: float = 0.0,
) -> dict[str, Any]:
  """Stands in for `trainer.loop.train`: goes on from its checkpoint, and stops by SIGTERM."""
  run.mkdir(parents=True, exist_ok=True)
  saved, epochs = run / 'checkpoint.json', run / 'epochs.txt'
  try:
    with filelock.FileLock(run / '.lock', timeout=0), stop_signals(stop) as stop:
      rows = json.loads(saved.read_text()) if saved.exists() else []
      session = types.SimpleNamespace(rows=rows)
      while len(rows) < config.epochs:
        if stop.asked:
          return {}
        time.sleep(epoch_seconds)
        epoch = len(rows) + 1
        x = config.optimizer.learning_rate
        rows.append({'epoch': epoch, 'val_accuracy': accuracy(x, epoch, config.seed)})
        with epochs.open('a') as file:
          file.write(f'{epoch}\n')
        for callback in extra_callbacks:
          callback.end_epoch(session, None)
        draft = run / 'draft'
        draft.write_text(json.dumps(rows))
        draft.replace(saved)
  except filelock.Timeout:
    (run / 'OVERLAP').touch()
    raise
  return {'val_accuracy': rows[-1]['val_accuracy'], 'last_epoch': len(rows), 'seconds': 1.0}


def open_fake(folder: pathlib.Path, **changes: Any) -> OpenStudy:
  """A new study, or the one in the folder."""
  return study.open_study(folder, Plan(**{**vars(PLAN), **changes}))


def main() -> None:
  """Runs the command above."""
  parser = argparse.ArgumentParser()
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--trials', type=int)
  parser.add_argument('--workers', type=int, default=1)
  parser.add_argument('--storage', default='')
  parser.add_argument('--epoch_seconds', type=float, default=0.2)
  parser.add_argument('--as_worker', action='store_true')
  arguments = parser.parse_args()
  budget = Budget(arguments.trials)
  if arguments.as_worker:

    def train(*positional: Any, **options: Any) -> dict[str, Any]:
      return fake_train(*positional, **options, epoch_seconds=arguments.epoch_seconds)

    plan = dataclasses.replace(PLAN, storage=arguments.storage)
    worker.work(study.join(arguments.folder, plan), Space(), budget, train)
    return
  opened = open_fake(arguments.folder, storage=arguments.storage)
  command = [sys.executable, '-m', 'tests.helpers.fake_study', *sys.argv[1:], '--as_worker']
  shown = show.Show(bar=False)
  supervisor.supervise(opened, command, arguments.workers, budget, shown)
  shown.update_now(opened, budget)


if __name__ == '__main__':
  with exit_on_user_error():
    main()
