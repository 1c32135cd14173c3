"""Checks of a whole config, before anything starts."""

from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.config import migrations
from cifar_jax.config.options import CHOSEN, OPTIONS
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import nearest


def validate(config: ConfigDict, import_network: bool = True) -> None:
  """Checks the whole config before anything starts.

  Args:
    config: The config.
    import_network: Whether a network of the user's own, which may be slow to import and start the
      devices, is looked at too.

  Raises:
    UserError: An unknown or missing option, a wrong type or an impossible value; the message names
      the flag.
  """
  # They import JAX, which `--help` need not wait for.
  from cifar_jax import models, optim

  present = dict(flatten(config))
  for key in present:
    if key not in OPTIONS and key.partition('.')[0] not in CHOSEN:
      raise unknown_option(key, OPTIONS)
  for key, option in OPTIONS.items():
    if key not in present:
      raise _lacks(key)
    option.constraint.check(key, present[key])
  for section in CHOSEN:
    if not isinstance(config.get(section), ConfigDict):
      raise _lacks(section)
  averaging = optim.AVERAGES.resolve(config.weight_averaging)
  for section, optimizer in optim.in_use(config.optimizer).items():
    averaging.check_optimizer(section, optimizer)
  _check_early_end(config)
  if config.data.folds and config.data.fold >= config.data.folds:
    raise UserError(
      f'--config.data.fold={config.data.fold} is none of the --config.data.folds='
      f'{config.data.folds}, which count from 0'
    )
  if not config.evaluate.test and config.data.validation == 'test' and not config.data.folds:
    raise UserError(
      "--config.data.validation='test' validates on the test set, which "
      '--config.evaluate.test=False leaves unopened; hold training images out, as with '
      "--config.data.validation='5000'"
    )
  optim.SCHEDULES.resolve(config.schedule).check(config.epochs)
  if import_network or ':' not in str(config.model.get('name')):
    models.create(config.model, num_classes=10)


def _lacks(name: str) -> UserError:
  return UserError(f'the config lacks {name}; start it from configs/base.py')


def _check_early_end(config: ConfigDict) -> None:
  """Raises UserError where a run that may stop early needs to know its end, or cannot tell."""
  for section in ('early_stopping', 'plateau'):
    watched = config[section].patience and config[section].monitor.startswith('val_')
    if watched and not config.evaluate.every_epochs:
      raise UserError(
        f'--config.{section} watches {config[section].monitor}, which '
        '--config.evaluate.every_epochs=0 measures at the end only; use 1'
      )
  if config.early_stopping.patience and config.weight_averaging.name == 'lookahead':
    raise UserError(
      "--config.weight_averaging.name='lookahead' acts at the end of the run, which "
      "--config.early_stopping.patience leaves open; use 'ema', or patience 0"
    )


def flatten(config: ConfigDict) -> Iterator[tuple[str, Any]]:
  """Yields ('optimizer.learning_rate', 0.001) and so on; lists become tuples."""
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield from ((f'{key}.{inner}', leaf) for inner, leaf in flatten(value))
    else:
      yield key, tuples(value)


def tuples(value: Any) -> Any:
  """A value whose lists are tuples, as JSON knows none."""
  if isinstance(value, list | tuple):
    return tuple(tuples(item) for item in value)
  if isinstance(value, dict):
    return {key: tuples(item) for key, item in value.items()}
  return value


def unknown_option(key: str, names: Iterable[str]) -> UserError:
  """The error for an option that is not among `names`, with the right one if it can be told."""
  new = migrations.new_name(key)
  tail = f'; it is now called --config.{new}' if new else did_you_mean(key, names)
  return UserError(f'unknown option --config.{key}{tail}')


def did_you_mean(key: str, names: Iterable[str]) -> str:
  """'; did you mean --config.KEY?', also where only the last part of the key is right; or ''."""
  known = {old: name for name in names for old in (*migrations.old_names(name), name)}
  by_option = {name.rpartition('.')[2]: name for name in known}
  near = nearest(key, known) or by_option.get(nearest(key.rpartition('.')[2], by_option) or '')
  near = known.get(near or '')
  return f'; did you mean --config.{near}?' if near else ''
