"""The config that all others start from: every option at its default."""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cifar_jax.config import migrations
from cifar_jax.config.options import CHOSEN, OPTIONS


class _Config(ConfigDict):
  """A config whose sections are found by their old names too."""

  def __getitem__(self, name: str) -> Any:
    new = migrations.new_name(name)
    if new is None or new not in CHOSEN or name in self:
      return super().__getitem__(name)
    migrations.note(name, new)
    return super().__getitem__(new)


def get_config() -> ConfigDict:
  """Every option at its default: docs/options.md, or `python -m cifar_jax options`.

  In the sections of an optimizer, a schedule or an average None means "the default of the one that
  `name` chooses", and an option that it does not take is an error.
  """
  from cifar_jax import optim  # which imports JAX; `--help` need not wait for it

  config = _Config()
  for name, option in OPTIONS.items():
    *sections, key = name.split('.')
    section = config
    for inner in sections:
      if inner not in section:
        section[inner] = ConfigDict()
      section = section[inner]
    section[key] = option.default
  for name, values in CHOSEN.items():
    config[name] = ConfigDict(values)
    for key, option in optim.REGISTRIES[name].options().items() if name in optim.REGISTRIES else ():
      if key not in values:
        config[name][key] = placeholder(option.constraint.kind)
  config.optimizer.groups = ConfigDict()
  return config
