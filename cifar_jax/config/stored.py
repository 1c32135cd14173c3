"""The config in a run's folder and in its checkpoints, and what a resumed run may change in it."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.config import checks, defaults, files, migrations
from cifar_jax.config.options import CHOSEN, OPTIONS, SECTIONS
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import write_json

CONFIG_NAME = 'config.json'


def save(config: ConfigDict, run: pathlib.Path) -> None:
  """Writes the config into a run's folder, readable and reloadable."""
  write_json(run / CONFIG_NAME, to_json(config))


def read(run: pathlib.Path) -> ConfigDict:
  """The config that a run was started with, under the names of today.

  Options that are newer than the run have their defaults: what is added leaves everything as it
  was.

  Raises:
    UserError: The folder is not a run's folder, or its config cannot be read.
  """
  path = run / CONFIG_NAME
  if not os.path.lexists(path):
    raise UserError(f'{run} is not the folder of a run: it has no {CONFIG_NAME}')
  content = migrations.current_config(json_files.read(path), path)
  try:
    config = _complete(content)
    _check_read(config)
  except (ValueError, TypeError, AttributeError, UserError) as error:
    raise json_files.damaged(path, files.one_line(error)) from None
  return config


def to_json(config: ConfigDict) -> dict[str, Any]:
  """The config as JSON, with the number of its format."""
  return {'format': migrations.FORMAT, **json.loads(config.to_json())}


def of_json(content: Mapping[str, Any], where: object) -> ConfigDict:
  """The locked config that `to_json`, perhaps an older one, made JSON of.

  Args:
    content: What it made.
    where: What to call it in a message.

  Raises:
    UserError: It is of a newer format.
  """
  return _complete(migrations.current_config(content, where))


def _complete(content: Mapping[str, Any]) -> ConfigDict:
  config = ConfigDict(checks.tuples(content))
  _fill(config, defaults.get_config())
  return config.lock()


def _check_read(config: ConfigDict) -> None:
  """Raises UserError where what a file says is impossible; an option that is missing or that this
  version does not know is none of that.
  """
  present = dict(checks.flatten(config))
  for section in (*CHOSEN, *SECTIONS):
    if section in present:
      raise UserError(f'{section} is {present[section]!r} and no section')
  for key, option in OPTIONS.items():
    if key in present:
      option.constraint.check(key, present[key])


def _fill(config: ConfigDict, other: ConfigDict) -> None:
  """Adds what is missing in a config, section by section."""
  for key in other:
    value = other[key]
    if key not in config:
      config[key] = value
    elif isinstance(value, ConfigDict) and isinstance(config[key], ConfigDict):
      _fill(config[key], value)


def validate_config_unchanged(config: ConfigDict, run: pathlib.Path) -> None:
  """Raises UserError, listing the differences, if the run in the folder was started with another
  config.
  """
  if os.path.lexists(run / CONFIG_NAME):
    check_same(read(run), config, run)


def check_same(old_config: ConfigDict, config: ConfigDict, run: pathlib.Path) -> None:
  """Raises UserError, listing the differences, where a run's own config is not the given one."""
  old, new = dict(checks.flatten(old_config)), dict(checks.flatten(config))
  differences = [
    f'{key} was {old.get(key)!r} and is now {new.get(key)!r}'
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key) and not (key in OPTIONS and OPTIONS[key].resumable)
  ]
  if differences:
    raise UserError(
      f'{run} holds a run with another config: {"; ".join(differences)}; '
      'use the old values, or another --workdir for a new run'
    )
