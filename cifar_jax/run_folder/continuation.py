"""Going on with a run: what the host remembers beside the state, and whether it fits."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.data import Splits
from cifar_jax.errors import UserError
from cifar_jax.experiment import Experiment


def fresh_facts(splits: Splits) -> dict[str, Any]:
  """What the host remembers beside the state, before the first step; `RunClock` adds its own, and
  the loop `devices_so_far`.
  """
  return dict(splits.facts)


def devices_so_far(facts: Mapping[str, Any], devices: str) -> list[str]:
  """What the run was trained on, in order, this sitting's devices last.

  Args:
    facts: of the checkpoint that the sitting begins with.
    devices: of this sitting.
  """
  before = list(facts.get('devices', []))  # checkpoints of older versions lack them
  return before if before[-1:] == [devices] else [*before, devices]


def check_continues(
  experiment: Experiment, splits: Splits, run: pathlib.Path, step: int, facts: Mapping[str, Any]
) -> None:
  """Raises UserError where a checkpoint is of other data or of a longer run.

  Args:
    experiment: what is to be trained.
    splits: on what.
    run: folder of the run.
    step: updates made, by the checkpoint.
    facts: saved with it.
  """
  if not splits.are_those_of(facts):
    raise UserError(
      f'{run} was trained on other data than {splits.source} holds now; '
      'give it back its data, or choose another --workdir'
    )
  if step > experiment.total_steps:
    raise UserError(
      f'{run} has already trained {step / experiment.steps_per_epoch:g} epochs, more than '
      f'{_length(experiment.config)}; ask for more, or choose another --workdir'
    )


def _length(config: ConfigDict) -> str:
  limit = f' and --config.max_steps={config.max_steps}' if config.max_steps else ''
  return f'--config.epochs={config.epochs}{limit}'
