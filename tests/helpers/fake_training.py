"""In place of `loop.train`: leaves the files of a finished run, whose numbers follow from what the
config says, in no time.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.run_dir import run_files
from cifar_jax.utils.files import write_json


class FakeTraining:
  """Counts what it is called for, and does what it is told to in the middle of a run.

  Attributes:
    accuracy: Config -> test accuracy; that of validation is a point higher.
    acts: Called with each config once the run has begun.
    fingerprint: Config -> that of its data.
  """

  fingerprint: Callable[[ConfigDict], str] = staticmethod(lambda config: '12345678')

  def __init__(
    self,
    accuracy: Callable[[ConfigDict], float],
    acts: Callable[[ConfigDict], object] = lambda config: None,
  ):
    self.accuracy, self.acts = accuracy, acts
    self.trained: list[str] = []
    self.to_come: list[int] = []

  def __call__(
    self, config: ConfigDict, run: pathlib.Path, progress: Any, *, stop: Any, **_: Any
  ) -> dict[str, Any]:
    self.trained.append(f'{run.parent.name}/{run.name}')
    self.to_come.append(progress.runs_to_come)
    run.mkdir(parents=True, exist_ok=True)
    configs.save(config, run)
    self.acts(config)
    if stop.asked:
      return {}
    about = {'class_names': ['a', 'b'], 'image_shape': [8, 8, 3]}
    about['data_fingerprint'] = self.fingerprint(config)
    write_json(run / run_files.ABOUT, {'format': configs.FORMAT, **about})
    accuracy = self.accuracy(config)
    opened = {'test_accuracy': accuracy, 'test_loss': 0.5} if config.evaluate.test else {}
    summary = {
      **{'val_accuracy': accuracy + 0.01, 'val_loss': 1 - accuracy, **opened},
      **{'test_opened': config.evaluate.test, 'split_note': 'synthetic', 'seconds': 60.0},
      **{'epochs': config.epochs, 'max_steps': config.max_steps, 'steps': 6},
      **{'images_per_second': None, 'seed': config.seed},
    }
    write_json(run / run_files.SUMMARY, {'format': configs.FORMAT, **summary})
    return summary
