"""Space files: configs whose get_config(trial) asks an Optuna trial what to try."""

import dataclasses
import inspect
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import sqlalchemy
from ml_collections import ConfigDict
from optuna.distributions import BaseDistribution

from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError

_PASSING = (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError)


@dataclasses.dataclass(frozen=True, eq=False)
class SpaceProposer:
  """Asks a space file for the config of each trial.

  Attributes:
    module: The space file.
    overrides: As '--config.epochs=3', for all trials.
  """

  module: types.ModuleType
  overrides: Sequence[str] = ()

  def propose(self, trial: optuna.Trial, study: optuna.Study) -> ConfigDict:
    """The config that the file makes of what is suggested, with the overrides.

    Raises:
      UserError: a mistake in the file or the overrides; the message names the line or the flag.
    """
    with warnings.catch_warnings():
      # Of choices that are lists, and of a baseline outside of a range, which `outside` tells.
      warnings.filterwarnings('ignore', category=UserWarning, module='optuna')
      config = configs.call_get_config(self.module, trial, passing=_PASSING)
    config = configs.override(config, self.overrides)
    configs.check_file(config, str(self.module.__file__), self.overrides)
    return config


def load_space(path: str, overrides: Sequence[str] = ()) -> SpaceProposer:
  """The proposer of a space file, found as config files are.

  Raises:
    UserError: no such file, or a mistake in it.
  """
  module = configs.import_file(configs.find(path, option=''))
  if not _takes_a_trial(module.get_config):
    raise UserError(
      f'{path} is a config and no space: its get_config() takes no trial to ask; write a space '
      'beside it, as configs/spaces/cnn_simple.py (docs/trials/search.md)'
    )
  return SpaceProposer(module, tuple(overrides))


def baseline_of(proposer: SpaceProposer) -> Mapping[str, Any]:
  """The file's BASELINE, by the names of what it suggests; {} if it has none.

  Raises:
    UserError: it is no dictionary.
  """
  found = getattr(proposer.module, 'BASELINE', {})
  if not isinstance(found, Mapping):
    raise UserError(f'{proposer.module.__file__}: BASELINE is no dictionary of names and values')
  return found


def outside(
  baseline: Mapping[str, Any], suggested: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
  """What a baseline has that the space never suggests by itself, by name.

  Args:
    baseline: As `baseline_of` returns it.
    suggested: What the space suggests from, by name.
  """
  return {
    name: value
    for name, value in baseline.items()
    if (kind := suggested.get(name)) and not kind._contains(kind.to_internal_repr(value))
  }


def _takes_a_trial(get_config: Any) -> bool:
  try:
    inspect.signature(get_config).bind(None)
  except TypeError:
    return False
  return True
