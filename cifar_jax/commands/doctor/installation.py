"""What is installed, by the metadata of packages: nothing is imported that could be broken."""

import importlib.metadata
import platform
import struct
import sys
from collections.abc import Iterator, Set

from cifar_jax.commands.doctor.findings import Finding
from cifar_jax.startup import installed

_OLDEST_PYTHON = (3, 11)
_CORE = ('jax', 'jaxlib', 'numpy', 'flax', 'optax', 'orbax-checkpoint', 'ml-collections', 'absl-py')
_INSTALL = 'pip install -U -e .'
# What brings the module `tensorflow`; not tensorflow-intel and -macos, through which some versions
# of the first bring it.
_TENSORFLOWS = (
  *('tensorflow', 'tensorflow-cpu', 'tensorflow-gpu', 'tensorflow-rocm', 'intel-tensorflow'),
  *('tf-nightly', 'tf-nightly-cpu'),
)


def check_python() -> Iterator[Finding]:
  """Yields one finding on the interpreter."""
  number = platform.python_version()
  system = f'{platform.system()} {platform.machine()}'
  facts = {'version': number, 'system': system, 'executable': sys.executable}
  if sys.version_info < _OLDEST_PYTHON:
    oldest = '.'.join(map(str, _OLDEST_PYTHON))
    what = f'Python {number} is too old: {oldest} or newer is needed'
    yield Finding('python', 'fault', what, f'install Python {oldest} or newer', facts)
  elif struct.calcsize('P') != 8:
    what = f'Python {number} is of 32 bits, for which there is no JAX'
    yield Finding('python', 'fault', what, 'install Python of 64 bits', facts)
  else:
    yield Finding('python', 'ok', f'{number}, {system}, {sys.executable}', facts=facts)


def check_packages() -> Iterator[Finding]:
  """Yields what is installed of the packages without which nothing trains, and each that is missing
  or does not fit what another wants.
  """
  versions = {package: installed.version(package) for package in _CORE}
  missing = [package for package, number in versions.items() if number is None]
  problems = []
  if missing:
    what = f'not installed: {", ".join(missing)}'
    problems.append(Finding('packages', 'fault', what, _INSTALL, {'versions': versions}))
  named = set(missing)
  for owner in ('cifar_jax', *_CORE):
    for package, finding in _unmet(owner, named):
      named.add(package)
      problems.append(finding)
  yield from problems
  if not problems:
    shown = ', '.join(f'{package} {number}' for package, number in versions.items())
    yield Finding('packages', 'ok', shown, facts={'versions': versions})


def check_tensorflow() -> Iterator[Finding]:
  """Yields whether TensorFlow is there once at most: its packages write into the same folder."""
  found = {package: number for package in _TENSORFLOWS if (number := installed.version(package))}
  told = {'versions': found}
  if len(found) > 1:
    what = f'{" and ".join(found)} are installed, which overwrite each other'
    fix = f'pip uninstall -y {" ".join(found)}, then install one of them'
    yield Finding('tensorflow', 'fault', what, fix, told)
    return
  shown = ', '.join(f'{package} {number}' for package, number in found.items())
  yield Finding('tensorflow', 'ok', shown or 'none, and none is needed to train', facts=told)


def check_plugins() -> Iterator[Finding]:
  """Yields what is installed to reach accelerators; `machine.check_accelerators` says what follows
  where there is one."""
  jaxlib = installed.version('jaxlib')
  found = {
    package: number
    for versions in installed.plugins().values()
    for package, number in versions.items()
    if number
  }
  libtpu, wanted = installed.version('libtpu'), installed.wanted_libtpu()
  facts = {'plugins': found, 'jaxlib': jaxlib, 'libtpu': libtpu, 'wanted_libtpu': wanted}
  strange: dict[tuple[str, str], list[str]] = {}
  for package, number in found.items():
    if jaxlib and not installed.same_version(number, jaxlib):
      strange.setdefault((package.split('-')[1], number), []).append(package)
  for (plugin, number), packages in strange.items():
    what = (
      f'{" and ".join(packages)} {number} beside jaxlib {jaxlib}: JAX ignores a plugin of another '
      'version'
    )
    yield Finding('plugins', 'note', what, installed.install_command(plugin), facts)
  fits = libtpu is None or installed.libtpu_fits(libtpu, wanted)
  if not fits:
    what = f'libtpu {libtpu}, and jax {installed.version("jax")} wants {wanted}'
    yield Finding('plugins', 'note', what, installed.install_command('tpu'), facts)
  if fits and not strange:
    shown = [f'{package} {number}' for package, number in found.items()]
    shown += [f'libtpu {libtpu}'] if libtpu else []
    yield Finding('plugins', 'ok', ', '.join(shown) or 'none (computes on the CPU)', facts=facts)


def _unmet(owner: str, named: Set[str]) -> Iterator[tuple[str, Finding]]:
  """Yields the packages that another wants and does not get, but for those named already."""
  try:
    from packaging.requirements import InvalidRequirement, Requirement

    lines = importlib.metadata.requires(owner) or []
  except Exception:  # not installed by pip, or damaged: nothing can be said
    return
  for line in lines:
    try:
      wanted = Requirement(line)
    except InvalidRequirement:
      continue
    if wanted.name in named or (wanted.marker and not wanted.marker.evaluate({'extra': ''})):
      continue
    fix = f'pip install -U "{wanted.name}{wanted.specifier}"'
    number = installed.version(wanted.name)
    if number is None:
      what = f'{wanted.name} is not installed, which {owner} needs'
      yield wanted.name, Finding('packages', 'fault', what, fix)
    elif not wanted.specifier.contains(number, prereleases=True):
      what = f'{wanted.name} {number} is installed, and {owner} needs {wanted.specifier}'
      yield wanted.name, Finding('packages', 'fault', what, fix)
