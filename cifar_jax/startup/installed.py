"""What is installed for JAX to reach accelerators with, by the metadata of packages alone."""

import importlib.metadata
import importlib.util
import pkgutil
import re

# In the names of plugins, and the extra of jax that installs each; in the order in which JAX asks.
PLUGINS = {'cuda13': 'cuda13', 'cuda12': 'cuda12', 'rocm7': 'rocm7-local'}


def version(package: str) -> str | None:
  """The version of an installed package by its metadata; None if it is not there or damaged."""
  try:
    return importlib.metadata.version(package) or None
  except Exception:  # a damaged installation raises all kinds
    return None


def same_version(one: str, other: str) -> bool:
  """Whether jaxlib takes a plugin's version for its own: by the numbers at the front."""
  numbers = [re.match(r'\d+(?:\.\d+)*', text) for text in (one, other)]
  return all(numbers) and len({found[0] for found in numbers if found}) == 1


def wanted_libtpu() -> str | None:
  """What the installed jax wants of libtpu, such as '==0.0.42.*'; None if it does not say."""
  try:
    lines = importlib.metadata.requires('jax') or []
  except Exception:
    return None
  found = [re.match(r'libtpu\s*\(?([^;()]+)\)?\s*;.*\btpu\b', line) for line in lines]
  return next((match[1].replace(' ', '') for match in found if match), None)


def libtpu_fits(installed: str, wanted: str | None) -> bool:
  """Whether a version of libtpu is one that the installed jax wants, as far as that can be told."""
  if wanted is None:
    return True
  try:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(installed, prereleases=True)
  except (ImportError, ValueError):  # no such package, or text that is no version
    return True


def plugin_modules() -> set[str]:
  """The names of the modules by which plugins make themselves known to JAX."""
  try:
    spec = importlib.util.find_spec('jax_plugins')
  except (ImportError, ValueError):
    return set()
  locations = spec.submodule_search_locations if spec else None
  return {module.name for module in pkgutil.iter_modules(list(locations or []))}


def plugins(platform: str = '') -> dict[str, dict[str, str | None]]:
  """The plugins that are installed, for 'cuda', 'rocm' or both: 'cuda12' -> the versions of its two
  packages by their names; None for a version that nobody tells.
  """
  modules = plugin_modules()
  found = {}
  for plugin in PLUGINS:
    versions = {name: version(name) for name in (f'jax-{plugin}-plugin', f'jax-{plugin}-pjrt')}
    if plugin.startswith(platform) and (any(versions.values()) or f'xla_{plugin}' in modules):
      found[plugin] = versions
  return found


def install_command(plugin: str) -> str:
  """The command that installs a plugin of `PLUGINS`, or libtpu by 'tpu', and the JAX for it."""
  return f'pip install -U "jax[{PLUGINS.get(plugin, plugin)}]"'
