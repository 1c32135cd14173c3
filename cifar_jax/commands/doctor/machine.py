"""What the machine has: accelerators, processor, memory, disks, data."""

import os
import pathlib
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator

from cifar_jax.commands.doctor import child
from cifar_jax.commands.doctor.findings import Finding, Status
from cifar_jax.startup import accelerators, host_memory, processor
from cifar_jax.utils.cache import REMEDY as CACHE_REMEDY
from cifar_jax.utils.cache import why_unwritable
from cifar_jax.utils.files import nearest_folder
from cifar_jax.utils.paths import cache_folder

_MIB, _GIB = 2**20, 2**30
_LEAST_DISK = 100 * _MIB  # for checkpoints of small networks
_LITTLE_DISK = 2 * _GIB  # for data, programs and checkpoints of all configs
_LITTLE_MEMORY = 2 * _GIB
_SECONDS_OF_COUNTING = 2.0
_FEATURES = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'neon', 'asimd')


def check_jax() -> Iterator[Finding]:
  """Yields whether JAX starts, and what it computes on."""
  answer = child.probe()
  facts = {name: answer.facts.get(name) for name in ('jax', 'backend', 'devices')}
  if answer.trouble or 'backend' not in answer.facts:
    begun = 'does not start' if 'jax' in answer.facts else 'cannot be imported'
    what = f'JAX {begun}: {answer.trouble or "it says nothing"}'
    yield Finding('jax', 'fault', what, _fix_of_start(answer), facts)
    return
  devices = ', '.join(f'{count} x {kind}' for kind, count in answer.facts['devices'].items())
  seconds = answer.facts['import_seconds'] + answer.facts['start_seconds']
  what = f'{facts["jax"]} computes on {devices}; it started in {seconds:.1f} s'
  yield Finding('jax', 'ok', what, facts=facts)


def check_accelerators() -> Iterator[Finding]:
  """Yields one finding per accelerator of the machine, or one that there is none."""
  backend = child.probe().facts.get('backend')
  found = accelerators.find()
  chosen = accelerators.chosen_platform()
  for one in found:
    names, complaint = accelerators.nvidia_smi() if one.platform == 'cuda' else ((), '')
    name = f'{", ".join(names) or one.name} ({one.sign})'
    facts = {'platform': one.platform, 'name': name, 'sign': one.sign, 'used': False}
    if backend in (one.platform, 'tpu' if one.platform == 'tpu' else 'gpu'):
      note: Status = 'note' if complaint else 'ok'
      what = f'{name} is used' + (f', though {complaint}' if complaint else '')
      yield Finding('accelerators', note, what, facts={**facts, 'used': True})
    elif chosen == 'cpu':
      what = f'{name} is not used: JAX_PLATFORMS in the environment names the CPU'
      yield Finding('accelerators', 'note', what, 'unset JAX_PLATFORMS JAX_PLATFORM_NAME', facts)
    elif problem := accelerators.why_unused(one, os.environ):
      what = f'{name} is not used: {problem.what}'
      yield Finding('accelerators', 'fault', what, problem.fix, facts)
    else:
      what = f'{name} is not used, and the check of JAX says more'
      yield Finding('accelerators', 'fault', what, facts=facts)
  if found:
    return
  _, complaint = accelerators.nvidia_smi()
  if complaint:
    what = f'no device is here, but {complaint}'
    fix = 'install the driver again, or remove it'
    yield Finding('accelerators', 'note', what, fix)
  elif platform.system() == 'Darwin' and platform.machine() == 'arm64':
    yield Finding(
      'accelerators', 'ok', "none for JAX, which has no plugin for Apple's GPU any more"
    )
  else:
    yield Finding('accelerators', 'ok', 'none')


def check_processor() -> Iterator[Finding]:
  """Yields the processor and what of it matters here."""
  features = [name for name in _FEATURES if name in processor.features()]
  cores = len(processor.cores())
  what = f'{processor.described()}, {", ".join(features) or "features unknown"}'
  yield Finding('processor', 'ok', what, facts={'cores': cores, 'features': features})


def check_memory() -> Iterator[Finding]:
  """Yields how much memory a process can still have."""
  free = host_memory.available()
  if free is None:
    yield Finding('memory', 'ok', 'this system does not say')
  elif free < _LITTLE_MEMORY:
    what = f'{_size(free)} can be had, which is little'
    yield Finding('memory', 'note', what, 'close other programs', {'bytes': free})
  else:
    yield Finding('memory', 'ok', f'{_size(free)} can be had', facts={'bytes': free})


def check_disk() -> Iterator[Finding]:
  """Yields how much room there is for runs, the cache and temporary files."""
  try:
    places = {'runs': pathlib.Path('runs').absolute(), 'cache': cache_folder().absolute()}
  except FileNotFoundError:
    what = 'the folder in which this command was started has been deleted'
    yield Finding('disk', 'fault', what, 'go to a folder that is there, with cd')
    return
  try:
    places['temporary files'] = pathlib.Path(tempfile.gettempdir())
  except OSError as error:
    what = f'there is no folder for temporary files ({error.strerror})'
    yield Finding('disk', 'fault', what, _FIXES['temporary files'])
  if places.get('temporary files') == pathlib.Path.cwd():
    what = 'the usual folders for temporary files are full or forbidden; this folder serves instead'
    yield Finding('disk', 'note', what, _FIXES['temporary files'])
  free, full = {}, False
  for purpose, folder in places.items():
    place = nearest_folder(folder)
    free[purpose] = shutil.disk_usage(place).free
    if free[purpose] < _LITTLE_DISK:
      full = True
      status: Status = 'fault' if free[purpose] < _LEAST_DISK else 'note'
      what = f'{_size(free[purpose])} free for {purpose} at {place}'
      yield Finding('disk', status, what, _FIXES[purpose], {'free': {purpose: free[purpose]}})
  if not full:
    shown = ', '.join(f'{_size(count)} for {purpose}' for purpose, count in free.items())
    yield Finding('disk', 'ok', f'free: {shown}', facts={'free': free})


_FIXES = {
  'runs': 'delete old runs, or train with --workdir=/a/folder/with/room',
  'cache': CACHE_REMEDY,
  'temporary files': 'export TMPDIR=/a/folder/with/room',
}


def check_cache() -> Iterator[Finding]:
  """Yields whether compiled programs and parsed data can be kept, and how much is."""
  folder = cache_folder()
  facts: dict[str, object] = {'folder': str(folder), 'bytes': None}
  if not folder.is_absolute() and not os.environ.get('CIFAR_JAX_CACHE'):
    what = f'this user has no home folder, so that the cache would be {folder.absolute()}'
    yield Finding('cache', 'fault', what, _FIXES['cache'], facts)
    return
  if what := why_unwritable():
    yield Finding('cache', 'fault', what, _FIXES['cache'], facts)
    return
  facts['bytes'], whole = _bytes_in(folder)
  held = f'{"" if whole else "more than "}{_size(int(str(facts["bytes"])))}'
  yield Finding('cache', 'ok', f'{folder} holds {held}', facts=facts)


def check_data() -> Iterator[Finding]:
  """Yields which data sets are on this machine; that of most configs should be."""
  facts = child.probe().facts
  if 'data' not in facts:
    reason = facts.get('data_trouble') or 'JAX cannot be imported'
    yield Finding('data', 'note', f'cannot be looked for: {reason}')
    return
  places, wanted = facts['data'], facts['default_data']
  here = ', '.join(f'{name} in {place}' for name, place in places.items() if place)
  absent = ', '.join(name for name, place in places.items() if not place)
  told = {'found': places}
  own = os.environ.get('CIFAR_JAX_DATA')
  if own and not os.path.isdir(own):
    what = f'CIFAR_JAX_DATA={own} in the environment is no folder'
    yield Finding('data', 'note', what, 'unset CIFAR_JAX_DATA, or name the folder of the data')
  damaged = facts.get('damaged_data', {})
  for name, trouble in damaged.items():
    what = f'{name} in {places[name]} cannot be read: {trouble.rstrip(".")}'
    fix = f'move {places[name]} away, then python -m cifar_jax data fetch {name}'
    yield Finding('data', 'fault', what, fix, told)
  if wanted in damaged:
    return
  if places.get(wanted):
    what = here + (f'; not here: {absent}' if absent else '')
    yield Finding('data', 'ok', what, facts=told)
    return
  what = f'{wanted}, the data of most configs, is not here' + (f', but {here}' if here else '')
  yield Finding('data', 'note', what, f'python -m cifar_jax data fetch {wanted}', told)


def _fix_of_start(answer: child.Answer) -> str:
  """What to do where JAX does not start."""
  if 'jax' not in answer.facts:
    return 'pip install -U --force-reinstall jax jaxlib'
  if accelerators.chosen_platform() not in ('', 'cpu'):
    return 'unset JAX_PLATFORMS JAX_PLATFORM_NAME'
  return 'export JAX_PLATFORMS=cpu   (until the accelerator is mended)'


def _bytes_in(folder: pathlib.Path) -> tuple[int, bool]:
  """The bytes of all files below a folder, and whether all were counted."""
  total, end = 0, time.monotonic() + _SECONDS_OF_COUNTING
  for where, _, names in os.walk(folder):
    for name in names:
      try:
        total += os.lstat(os.path.join(where, name)).st_size
      except OSError:
        continue
    if time.monotonic() > end:
      return total, False
  return total, True


def _size(count: int) -> str:
  if count >= _GIB:
    return f'{count / _GIB:.1f} GiB'
  return f'{count / _MIB:.0f} MiB' if count >= _MIB else f'{count / 1024:.0f} KiB'
