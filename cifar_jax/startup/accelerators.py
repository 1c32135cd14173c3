"""Which accelerators the machine has, and why JAX does not use one.

JAX ignores the plugin of another version and then computes on the CPU, for days if nobody looks.
Files of devices and the metadata of installed packages tell that without starting anything, so all
of this costs about a millisecond; `unused_note` alone asks JAX, and that only where an accelerator
seems to be there.
"""

import functools
import importlib.util
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cifar_jax.startup import installed
from cifar_jax.utils.child_process import run_bounded
from cifar_jax.utils.errors import UserError

ROOT = pathlib.Path('/')
_BY_NVIDIA_SMI = 'nvidia-smi'  # the sign of a GPU without a file
_SECONDS_FOR_NVIDIA_SMI = 10
_NVIDIA_VENDOR, _GOOGLE_VENDOR = '0x10de', '0x1ae0'
_DISPLAY_CLASS = '0x03'  # of GPUs, with a screen or without
# PCI numbers of Google's devices that are TPUs; others are network cards.
_TPUS = {
  '0x0027': 'TPU v3',
  '0x0056': 'TPU',
  '0x005e': 'TPU v4',
  '0x0062': 'TPU v5p',
  '0x0063': 'TPU v5e',
  '0x006f': 'TPU v6e',
  '0x0076': 'TPU7x',
}
# AMD's GPUs that ROCm computes on, as their driver counts them: gfx90a is 90010. The others of its
# driver are mostly parts of a laptop's processor.
_ROCM_GPUS = {
  *(90006, 90008, 90010, 90402, 90500),
  *(100300, 110000, 110001, 110501, 120000, 120001),
}
# The environment of a machine with a TPU; the files of its devices may be hidden in a container.
TPU_VARIABLES = ('TPU_ACCELERATOR_TYPE', 'COLAB_TPU_ADDR')
CANNOT_START = (RuntimeError, AssertionError)  # what JAX raises where a platform does not start
CPU_IS_MEANT = 'to use the CPU on purpose, set JAX_PLATFORMS=cpu in the environment'


class Accelerator(NamedTuple):
  """A kind of accelerator of this machine.

  Attributes:
    platform: JAX's name of it, 'cuda', 'rocm' or 'tpu'.
    name: What a reader calls it.
    sign: What shows that it is there, such as '/dev/nvidia0'.
    has_driver: Whether its driver offers it to this process.
  """

  platform: str
  name: str
  sign: str
  has_driver: bool = True


class Problem(NamedTuple):
  """Why JAX does not use an accelerator.

  Attributes:
    what: Half a sentence.
    fix: What to do, mostly a command to copy.
    certain: Whether JAX cannot use it, rather than may fail to.
  """

  what: str
  fix: str
  certain: bool = True


def runs_on_cpu(environment: Mapping[str, str] = os.environ, root: pathlib.Path = ROOT) -> bool:
  """Whether JAX will choose the CPU: it was told to, or there is no accelerator that it could use.

  Asked before JAX starts: a plugin counts if its version is jaxlib's and its device is there.
  """
  if chosen := chosen_platform(environment):
    return chosen == 'cpu'
  known = {f'xla_{plugin}' for plugin in installed.PLUGINS}
  if installed.plugin_modules() - known:
    return False  # nothing is known about it
  problems = [problem(found, environment) for found in find_devices(environment, root)]
  return all(found is not None and found.certain for found in problems)


def chosen_platform(environment: Mapping[str, str] = os.environ) -> str:
  """The first platform that the environment tells JAX to use; '' if it leaves that to JAX."""
  chosen = environment.get('JAX_PLATFORMS') or environment.get('JAX_PLATFORM_NAME') or ''
  return chosen.split(',')[0].strip().lower()


def unused_note(environment: Mapping[str, str] = os.environ, root: pathlib.Path = ROOT) -> str:
  """Returns a sentence on an accelerator that is there while JAX computes on the CPU; '' if none.

  It starts JAX where an accelerator seems to be there. With JAX_PLATFORMS=cpu it returns ''.

  Raises:
    UserError: JAX cannot start as the environment, or a plugin, wants it to.
  """
  chosen = chosen_platform(environment)
  if chosen == 'cpu':
    return ''
  found = find(environment, root)
  if not found and not chosen:
    return ''
  import jax

  try:
    backend = jax.default_backend()
  except CANNOT_START as error:
    reasons = [
      f'{sentence}. ' for one in found if (sentence := _sentence(one, problem(one, environment)))
    ]
    raise UserError(
      f'JAX does not start: {start_error(error, environment)}. {"".join(reasons)}'
      f'{CPU_IS_MEANT[0].upper()}{CPU_IS_MEANT[1:]}; python -m cifar_jax doctor looks at everything'
    ) from None
  if backend != 'cpu' or not found:
    return ''
  return '; '.join(
    _sentence(one, why_unused(one, environment) or _in_words_of_jax(one.platform)) for one in found
  )


def start_error(error: BaseException, environment: Mapping[str, str] = os.environ) -> str:
  """Why JAX does not start, by one of `CANNOT_START`, which may say nothing itself."""
  if text := shortened(str(error)):
    return text
  return f'it finds no device of the kind that JAX_PLATFORMS names, {chosen_platform(environment)}'


def warn_if_unused() -> None:
  """Prints the sentence of `unused_note` on stderr, if there is one."""
  if note := unused_note():
    print(f'WARNING: {note}; {CPU_IS_MEANT}', file=sys.stderr, flush=True)


def find(
  environment: Mapping[str, str] = os.environ, root: pathlib.Path = ROOT
) -> list[Accelerator]:
  """Returns the accelerators of this machine; nvidia-smi is asked where no file shows a GPU."""
  found = find_devices(environment, root)
  if not any(one.platform == 'cuda' for one in found) and shutil.which('nvidia-smi'):
    names, _ = nvidia_smi()
    if names:
      found.append(Accelerator('cuda', names[0], _BY_NVIDIA_SMI))
  return found


def find_devices(environment: Mapping[str, str], root: pathlib.Path = ROOT) -> list[Accelerator]:
  """Returns the accelerators that files of devices, the PCI bus and the environment show."""
  return [*_find_nvidia(root), *_find_amd(root), *_find_tpu(environment, root)]


def why_unused(accelerator: Accelerator, environment: Mapping[str, str]) -> Problem | None:
  """Returns the problem of an accelerator, the driver's included, which may take seconds; or None.

  Raises nothing, whatever the driver does.
  """
  found = problem(accelerator, environment)
  if found or accelerator.platform != 'cuda':
    return found
  _, complaint = nvidia_smi()
  if not complaint:
    return None
  return Problem(
    f'its driver does not answer ({complaint})',
    'restart the machine, or install the driver again, until nvidia-smi lists the GPU',
  )


def problem(accelerator: Accelerator, environment: Mapping[str, str]) -> Problem | None:
  """Returns why JAX cannot use an accelerator, by the environment and the installed packages alone;
  None if nothing speaks against it.
  """
  if accelerator.platform == 'tpu':
    return _problem_of_libtpu(environment)
  if accelerator.platform == 'rocm':
    return _problem_of_plugin('rocm')
  if sys.platform == 'win32':
    return Problem('JAX for Windows has no CUDA', 'train within WSL2 (wsl --install)')
  visible = environment.get('CUDA_VISIBLE_DEVICES')
  if visible is not None and not re.match(r'\d|GPU-|MIG-', visible.strip()):
    return Problem(
      f'CUDA_VISIBLE_DEVICES={visible} in the environment hides it',
      'unset CUDA_VISIBLE_DEVICES',
    )
  not_offered = Problem(
    "NVIDIA's driver does not offer it to this process (no /dev/nvidia0)",
    'install the driver until nvidia-smi lists the GPU; a container needs docker run --gpus all',
  )
  if not accelerator.has_driver:
    return not_offered
  return _problem_of_plugin('cuda') or (not_offered if accelerator.sign == _BY_NVIDIA_SMI else None)


@functools.cache
def nvidia_smi() -> tuple[tuple[str, ...], str]:
  """The names of the GPUs by nvidia-smi, and what is wrong with its answer ('' if nothing is, or
  there is no such program). It is asked once per process.
  """
  program = shutil.which('nvidia-smi')
  if program is None:
    return (), ''
  answer = run_bounded([program, '-L'], _SECONDS_FOR_NVIDIA_SMI)
  if answer.late:
    return (), f'nvidia-smi did not end within {_SECONDS_FOR_NVIDIA_SMI} seconds'
  names = tuple(re.findall(r'^GPU \d+: (.+?)(?: \(UUID.*)?$', answer.output, re.MULTILINE))
  if names and answer.status == 0:
    return tuple(shortened(name, 60) for name in names), ''
  said = shortened(answer.output.strip() or answer.errors, 80)
  return (), f'nvidia-smi says: {said}' if said else 'nvidia-smi says nothing'


def shortened(text: str, most: int = 200) -> str:
  """One line of at most `most` printable letters."""
  line = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())
  return (line if len(line) <= most else f'{line[: most - 3]}...').rstrip('.')


def _find_nvidia(root: pathlib.Path) -> Iterator[Accelerator]:
  # The same files by which JAX decides; WSL has the last of them on every machine.
  devices = [path for path in _glob(root, 'dev/nvidia*') if re.fullmatch(r'nvidia\d+', path.name)]
  devices += _glob(root, 'dev/nvidiactl')
  if (root / 'usr/lib/wsl/lib/libcuda.so.1').exists():
    devices += _glob(root, 'dev/dxg')
  if devices:
    yield Accelerator('cuda', 'NVIDIA GPU', f'/{devices[0].relative_to(root)}')
    return
  for path, _ in _pci_devices(root, _NVIDIA_VENDOR):
    if _text(path / 'class').startswith(_DISPLAY_CLASS):
      yield Accelerator('cuda', 'NVIDIA GPU', f'PCI {path.name}', has_driver=False)
      return


def _find_amd(root: pathlib.Path) -> Iterator[Accelerator]:
  if not (root / 'dev/kfd').exists():
    return
  nodes = _glob(root, 'sys/class/kfd/kfd/topology/nodes/*/properties')
  numbers = re.findall(r'^gfx_target_version (\d+)$', '\n'.join(map(_text, nodes)), re.MULTILINE)
  # The program is a part of ROCm, which nobody installs for other GPUs.
  if _ROCM_GPUS & set(map(int, numbers)) or shutil.which('rocm-smi'):
    yield Accelerator('rocm', 'AMD GPU', '/dev/kfd')


def _find_tpu(environment: Mapping[str, str], root: pathlib.Path) -> Iterator[Accelerator]:
  name = environment.get('TPU_ACCELERATOR_TYPE')
  for path, number in _pci_devices(root, _GOOGLE_VENDOR):
    if number in _TPUS:
      yield Accelerator('tpu', _TPUS[number], f'PCI {path.name}')
      return
  signs = [f'/{path.relative_to(root)}' for path in _glob(root, 'dev/accel[0-9]*')]
  # Any device may be handed over by /dev/vfio, so that it counts only where TPUs are spoken of.
  signs += [variable for variable in TPU_VARIABLES if environment.get(variable)]
  if signs:
    yield Accelerator('tpu', f'TPU {name}' if name else 'TPU', signs[0])


def _pci_devices(root: pathlib.Path, vendor: str) -> Iterator[tuple[pathlib.Path, str]]:
  """The folders of a vendor's devices on the PCI bus, and the devices' numbers."""
  for path in _glob(root, 'sys/bus/pci/devices/*'):
    if _text(path / 'vendor') == vendor:
      yield path, _text(path / 'device')


def _glob(root: pathlib.Path, pattern: str) -> list[pathlib.Path]:
  try:
    return sorted(root.glob(pattern))
  except OSError:
    return []


def _text(path: pathlib.Path) -> str:
  try:
    return path.read_text('utf-8', 'replace').strip().lower()
  except OSError:
    return ''


def _problem_of_plugin(platform: str) -> Problem | None:
  """Why JAX cannot use a GPU with the plugins that are installed; None if one of them fits."""
  jaxlib, found = installed.version('jaxlib'), installed.plugins(platform)
  if not found:
    title, name = ('ROCm', 'rocm7') if platform == 'rocm' else ('CUDA', 'cuda12')
    return Problem(f'no {title} plugin of JAX is installed', installed.install_command(name))
  problems = []
  for name, versions in found.items():
    if not any(versions.values()) or jaxlib is None:
      return None  # built by hand: JAX has to tell
    fix = installed.install_command(name)
    for package, plugin in versions.items():
      if plugin is None:
        problems.append(Problem(f'{package} is missing beside its counterpart', fix))
      elif not installed.same_version(plugin, jaxlib):
        what = (
          f'{package} is of version {plugin} and jaxlib of {jaxlib}, and JAX ignores a plugin of '
          'another version'
        )
        problems.append(Problem(what, fix))
    if not any(one.fix == fix for one in problems):
      return None
  return problems[0]


def _problem_of_libtpu(environment: Mapping[str, str]) -> Problem | None:
  """Why JAX cannot use a TPU by the libtpu that is installed; None if nothing speaks against it."""
  if environment.get('TPU_LIBRARY_PATH'):
    return None
  libtpu, wanted = installed.version('libtpu'), installed.wanted_libtpu()
  if libtpu is None:
    if importlib.util.find_spec('libtpu'):
      return None
    return Problem('libtpu is not installed', installed.install_command('tpu'))
  if installed.libtpu_fits(libtpu, wanted):
    return None
  what = f'libtpu is of version {libtpu} and jax {installed.version("jax")} wants {wanted}'
  return Problem(what, installed.install_command('tpu'), certain=False)


def _in_words_of_jax(platform: str) -> Problem:
  """What JAX itself says about a platform that it does not use."""
  import jax

  try:
    jax.devices(platform)
  except RuntimeError as error:
    return Problem(f'JAX says: {shortened(str(error))}', 'python -m cifar_jax doctor')
  return Problem('JAX prefers the CPU', 'python -m cifar_jax doctor')


def _sentence(accelerator: Accelerator, found: Problem | None) -> str:
  """One sentence on an accelerator and its problem; '' if it has none."""
  if found is None:
    return ''
  name, sign = accelerator.name, accelerator.sign
  if accelerator.platform == 'cuda' and sign != _BY_NVIDIA_SMI and (names := nvidia_smi()[0]):
    name = names[0]
  return f'the CPU is used, not {name} ({sign}): {found.what}; mend it with: {found.fix}'
