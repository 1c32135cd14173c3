"""Who proposes the options of the next trial, and who ends a trial early."""

import importlib.util
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from cifar_jax.search.attributes import EXHAUSTED
from cifar_jax.search.objectives import PER_EPOCH
from cifar_jax.utils.errors import UserError

_SEVERAL = ('tpe', 'random', 'gp', 'nsga2', 'grid')  # that know several objectives
_NEEDS: Mapping[str, tuple[str, str]] = {
  'gp': ('torch', 'the version for CPU is enough'),
  'cmaes': ('cmaes', 'a small package'),
}


class _Grid(optuna.samplers.BruteForceSampler):
  """Every combination once; its end is noted in the study."""

  def after_trial(self, study: optuna.Study, *arguments: Any) -> None:
    try:
      super().after_trial(study, *arguments)
    except RuntimeError:  # it wants to stop the loop of `optimize`, which there is not
      study.set_user_attr(EXHAUSTED, True)


SAMPLERS: Mapping[str, Callable[[int], optuna.samplers.BaseSampler]] = {
  'tpe': lambda seed: optuna.samplers.TPESampler(seed=seed),
  'random': lambda seed: optuna.samplers.RandomSampler(seed=seed),
  'gp': lambda seed: optuna.samplers.GPSampler(seed=seed),
  'cmaes': lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
  'nsga2': lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
  'grid': lambda seed: _Grid(seed=seed),
}


def check(sampler: str, pruner: str, objectives: Sequence[str]) -> None:
  """Checks the names of a sampler and a pruner.

  Raises:
    UserError: a package is missing, or it cannot work with the objectives.
  """
  if len(objectives) > 1 and sampler not in _SEVERAL:
    raise UserError(f'--sampler={sampler} knows one objective only; take --sampler=nsga2')
  package, remark = _NEEDS.get(sampler, ('', ''))
  if package and importlib.util.find_spec(package) is None:
    raise UserError(
      f'--sampler={sampler} needs {package} ({remark}), which is not installed; run pip install '
      f'{package}, or take --sampler=tpe'
    )
  if pruner == 'none':
    return
  if len(objectives) > 1:
    raise UserError(f'--pruner={pruner} knows one objective only; take --pruner=none')
  if objectives[0] not in PER_EPOCH:
    raise UserError(
      f'--pruner={pruner} decides by what each epoch measures, which {objectives[0]} is not; take '
      '--pruner=none'
    )


def check_ranges(sampler: str, suggested: Mapping[str, BaseDistribution]) -> None:
  """Checks that a sampler can come to an end of what a space suggests.

  Raises:
    UserError: a grid has no end.
  """
  if sampler != 'grid':
    return
  for name, kind in suggested.items():
    if isinstance(kind, FloatDistribution) and kind.step is None and not kind.single():
      raise UserError(
        f'--sampler=grid tries all values, and {name!r} has no end of them; give it a step in the '
        'space file, or choices, or take --sampler=random'
      )


def make_sampler(name: str, seed: int, trial: int) -> optuna.samplers.BaseSampler:
  """The sampler of one trial, whose random numbers follow from the seed and the trial's number, so
  that they are the same whichever worker asks, and after whichever interruption.
  """
  return SAMPLERS[name](zlib.crc32(f'{seed}/{trial}'.encode()))


def make_pruner(name: str) -> optuna.pruners.BasePruner:
  """A pruner that is asked after each epoch, counted from 1."""
  if name == 'median':
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
  if name == 'asha':
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
  if name == 'hyperband':
    return optuna.pruners.HyperbandPruner(min_resource=1, reduction_factor=3)
  return optuna.pruners.NopPruner()
