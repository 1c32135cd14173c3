"""Loss and accuracy of a checkpoint of a run."""

import pathlib
from typing import Any

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.errors import UserError
from cifar_jax.experiment import assemble
from cifar_jax.run_folder.checkpoint import Checkpoints
from cifar_jax.run_folder.run_summary import remark


def evaluate(
  run: pathlib.Path, checkpoint: str = 'latest', split: str = 'test', data_dir: str | None = None
) -> dict[str, Any]:
  """Evaluates a checkpoint over every example of a split.

  Args:
    run: folder of the run.
    checkpoint: 'latest', 'best' or a step number.
    split: 'train', 'validation' or 'test'.
    data_dir: in place of the config's data.dir, for data that has moved.

  Returns:
    loss (mean cross-entropy, without label smoothing), accuracy (0..1), examples, step,
    split and data, which say what must stand beside the numbers: synthetic data, a test set that
    was used as validation.

  Raises:
    UserError: no run there, no such checkpoint, no data.
  """
  config = configs.read(run)
  configs.validate(config)
  if data_dir is not None:
    with config.unlocked():
      config.data.dir = data_dir
  splits = data.split(
    data.load(config.data), config.data.validation, config.data.validation_from, config.seed
  )
  experiment = assemble(config, splits)
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore(experiment.abstract_state(), checkpoint)
  if restored is None:
    raise UserError(f"{run} has no '{checkpoint}' checkpoint yet; train it first")
  state, _ = restored
  chosen = getattr(splits, split)
  remarks = remark(splits)
  return {
    **experiment.evaluate(state, experiment.place_to_evaluate(chosen)),
    'examples': len(chosen),
    'step': int(state.step),
    'split': split,
    'data': f'{splits.name} [{remarks}]' if remarks else splits.name,
  }
