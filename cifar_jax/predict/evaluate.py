"""Loss and accuracy of a checkpoint of a run."""

import pathlib
from typing import Any

from cifar_jax import config as configs
from cifar_jax.devices import sharding
from cifar_jax.optim import averaging
from cifar_jax.predict.classifier import check_fits
from cifar_jax.predict.run_data import load_known
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.run_summary import split_note


def evaluate(
  run: pathlib.Path, checkpoint: str = 'latest', split: str = 'test', data_dir: str | None = None
) -> dict[str, Any]:
  """Evaluates a checkpoint over every example of a split.

  Args:
    checkpoint: 'latest', 'best' or a step number.
    split: 'train', 'validation' or 'test'.
    data_dir: The folder of the data in place of the config's data.dir, if they have moved.

  Returns:
    loss (mean cross-entropy, without label smoothing), accuracy (0..1), examples, step,
    split and data, which say what must stand beside the numbers: synthetic data, a test set that
    was used as validation, other data than those of training.

  Raises:
    UserError: no run there, no such checkpoint, no data, or not those of the run, see
      `run_data.load_known`.
  """
  config = configs.read(run)
  configs.validate(config)
  splits = load_known(run, config, split, data_dir)
  # Other training images must not decide how the images are normalized.
  trainer = build_trainer(config, splits, run_files.load_normalization(run, config.data))
  averaged = averaging.is_evaluated(config.weight_averaging)
  variables, step = model_folder.read_variables(run, checkpoint, averaged)
  check_fits(trainer.recipe.module, variables, splits.image_shape, run)
  variables = sharding.replicate(variables, trainer.mesh)
  chosen = getattr(splits, split)
  remarks = split_note(splits)
  return {
    **trainer.evaluate.of_variables(variables, trainer.evaluate.place(chosen)),
    'examples': len(chosen),
    'step': step,
    'split': split,
    'data': f'{splits.name} [{remarks}]' if remarks else splits.name,
  }
