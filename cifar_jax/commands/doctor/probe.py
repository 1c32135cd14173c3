"""Program: says where data are, then which devices JAX sees. Run by `child.probe`."""

import collections
import pathlib
import sys
import time
from collections.abc import Mapping

from cifar_jax.commands.doctor.child import tell
from cifar_jax.startup.accelerators import CANNOT_START, start_error


def main() -> None:
  """Says what it finds as it finds it: the last question may hang."""
  start = time.perf_counter()
  try:
    import jax
  except Exception as error:
    sys.exit(_first_cause(error))
  tell(jax=jax.__version__, import_seconds=time.perf_counter() - start)
  try:
    from cifar_jax import config as configs
    from cifar_jax.data import fetch, sources
    from cifar_jax.data.preprocessing import FILE_SOURCES

    names = [name for name in sources.KNOWN_NAMES if name not in ('synthetic', *FILE_SOURCES)]
    found = {name: sources.locate(name) for name in names}
    usual = configs.get_config().data
    tell(
      data={name: None if place is None else str(place) for name, place in found.items()},
      default_data=usual.name,
    )
    tell(damaged_data={name: trouble for name in fetch.NAMES if (trouble := _trouble(name, found))})
  except Exception as error:
    tell(data_trouble=f'{type(error).__name__}: {error}')
  start = time.perf_counter()
  try:
    devices = collections.Counter(one.device_kind for one in jax.devices())
  except CANNOT_START as error:
    sys.exit(start_error(error))
  tell(
    backend=jax.default_backend(),
    devices=dict(devices),
    start_seconds=time.perf_counter() - start,
  )


def _trouble(name: str, found: Mapping[str, pathlib.Path | None]) -> str:
  """Why data that are there cannot be trained on; '' if they can, or are not there."""
  from cifar_jax import config as configs
  from cifar_jax.data import sources
  from cifar_jax.utils.errors import UserError

  if found.get(name) is None:
    return ''
  wanted = configs.get_config().data.copy_and_resolve_references().unlock()
  wanted.name, wanted.dir = name, str(found[name])
  try:
    sources.load(wanted)
  except UserError as error:
    return str(error)
  return ''


def _first_cause(error: BaseException) -> str:
  """What began it: the error itself is often that of a package further up."""
  while cause := error.__cause__ or error.__context__:
    error = cause
  return f'{type(error).__name__}: {error}'


if __name__ == '__main__':
  main()
