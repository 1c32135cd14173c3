"""Installing the toolkit into the runtime of a notebook, such as those of Colab and Kaggle.

Such a runtime brings a JAX, and beside it the plugin for its GPU or the library for its TPU. pip
replaces a JAX that is too old and leaves the other two as they are, whereupon JAX ignores them and
computes on the CPU. So what is installed is chosen by the accelerator, and looked at afterwards.
Everything here works before the toolkit's requirements are installed.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from cifar_jax.startup import accelerators, installed
from cifar_jax.utils.errors import UserError

_SECONDS_TO_READ = 2  # between the last line and the end of the process, for the page to show it


def install(root: pathlib.Path, extras: tuple[str, ...] = ('report',)) -> str:
  """Installs the toolkit from its repository with what the runtime's accelerator needs.

  It ends the process where packages that are in use were replaced: the notebook's server starts a
  new one, in which the same cell goes on.

  Args:
    root: The folder of the repository.
    extras: The extras of the package to install besides that for the accelerator.

  Returns:
    What the toolkit will compute on, and the flags of XLA that were set for it.

  Raises:
    UserError: pip failed, or an accelerator is there and JAX cannot use it.
  """
  found = accelerators.find()
  wanted = ','.join([*filter(None, [extra_for(found)]), *extras])
  if needs_installation(found, root):
    before = versions_in_use()
    _run_pip(f'{root}[{wanted}]')
    importlib.invalidate_caches()
    for one in found:
      if problem := accelerators.problem(one, os.environ):
        raise UserError(f'{one.name} would be unused: {problem.what}; mend it with: {problem.fix}')
    if replaced := changed(before):
      print(f'replaced while in use: {", ".join(replaced)}')
      print('The runtime restarts. Run this cell again when it is back.', flush=True)
      restart()
  from cifar_jax.startup import host_memory, xla_flags  # they need what is installed now

  host_memory.configure_malloc()
  flags_note = xla_flags.set_flags()
  if note := accelerators.unused_note():
    raise UserError(note)
  import jax

  kinds = ', '.join(f'{device.platform} {device.device_kind}' for device in jax.devices())
  return f'JAX {jax.__version__} on {kinds}; {flags_note}'


def extra_for(found: list[accelerators.Accelerator]) -> str:
  """Returns the extra of the package for the accelerators of this machine; '' for the CPU alone.

  CUDA is of the version of the plugin that is there, else 12, which every driver of today runs.
  """
  platforms = {one.platform for one in found}
  if 'tpu' in platforms:
    return 'tpu'
  if 'cuda' not in platforms:
    return ''
  return next(iter(installed.plugins('cuda')), 'cuda12')


def needs_installation(found: list[accelerators.Accelerator], root: pathlib.Path) -> bool:
  """Whether the toolkit is not installed from `root`, or an accelerator could not be used."""
  # All of that name: the first may be `root`'s own, which does not say what is installed.
  distributions = importlib.metadata.distributions(name='cifar_jax')
  texts = [one.read_text('direct_url.json') for one in distributions]
  origins = [json.loads(text).get('url') for text in texts if text]
  if root.resolve().as_uri() not in origins:
    return True
  return any(accelerators.problem(one, os.environ) for one in found)


def versions_in_use() -> dict[str, str]:
  """Returns the versions of the installed packages of which this process has imported modules."""
  imported = {name.partition('.')[0] for name in sys.modules}
  packages = importlib.metadata.packages_distributions()
  names = {package for module in imported for package in packages.get(module, ())}
  return {name: version for name in names if (version := installed.version(name))}


def changed(before: Mapping[str, str]) -> list[str]:
  """Returns the packages that are of another version than before, with both versions."""
  after = {name: installed.version(name) for name in before}
  return sorted(
    f'{name} {version} by {after[name] or "none"}'
    for name, version in before.items()
    if after[name] != version
  )


def restart() -> None:
  """Ends the process, after a moment in which the page shows what was printed."""
  sys.stdout.flush()
  time.sleep(_SECONDS_TO_READ)
  os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))


def _run_pip(requirement: str) -> None:
  print(f'installing {requirement}, about a minute', flush=True)
  command = [sys.executable, '-m', 'pip', 'install', '-q', '-e', requirement]
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  if done.returncode:
    lines = done.stdout.strip().splitlines() or ['it said nothing']
    said = next((line for line in lines if line.lower().startswith('error:')), lines[-1])
    raise UserError(f'{" ".join(command)} failed: {accelerators.shortened(said, 400)}')
