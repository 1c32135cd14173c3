"""A config written as a config file, with what differs from the defaults."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.config import checks, defaults

_HEAD = '''"""{docstring}
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  config = base.get_config()
'''


def to_source(config: ConfigDict, docstring: str) -> str:
  """The text of a config file whose get_config() returns this config.

  Args:
    config: Of this version, with plain values.
    docstring: What the file says about it; any text.
  """
  escaped = docstring.replace('\\', '\\\\').replace('"', '\\"').strip()
  lines = [f'  {line}\n' for line in assignments(config)]
  return f'{_HEAD.format(docstring=escaped)}{"".join(lines)}  return config\n'


def assignments(config: ConfigDict) -> list[str]:
  """The statements that make a config of the default one, as 'config.epochs = 3'."""
  return list(_assignments(config, defaults.get_config(), 'config'))


def _assignments(config: ConfigDict, default: Mapping[str, Any], name: str) -> Iterator[str]:
  """The statements that make a section of the default one."""
  unset = []
  for key, value in config.items():
    path = f'{name}.{key}'
    if isinstance(value, ConfigDict):
      inner = default.get(key)
      if not isinstance(inner, ConfigDict):
        yield f'{path} = ConfigDict()'
      yield from _assignments(value, inner if isinstance(inner, ConfigDict) else {}, path)
    elif key not in default or checks.tuples(default[key]) != checks.tuples(value):
      if value is None and default.get(key) is not None:
        unset.append(path)
      else:
        yield f'{path} = {checks.tuples(value)!r}'
  if unset:
    yield 'with config.ignore_type():'
    yield from (f'  {path} = None' for path in unset)
