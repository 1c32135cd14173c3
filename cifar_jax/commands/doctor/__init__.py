"""python -m cifar_jax doctor: whether this machine and this installation can train.

Nothing here, nor anything that it imports, needs a package other than Python's own, since any
package may be the one that is broken. JAX runs in separate processes, which may hang or crash.
"""

import argparse
import sys
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.commands.doctor import findings, installation, machine, training
from cifar_jax.startup import process

_DESCRIPTION = """\
Checks Python, packages, accelerators, kernels, memory, disks and data, then trains a small network
for ten steps on every kind of device, stops and resumes it, and compares. For each problem, it says
what to do.

  python -m cifar_jax doctor
  python -m cifar_jax doctor --json

The exit status is 1 if there is a problem and 0 if everything works. Notes, for example about data
that are not there yet, do not change it.
"""
_CHECKS: dict[str, findings.Check] = {
  'python': installation.check_python,
  'packages': installation.check_packages,
  'plugins': installation.check_plugins,
  'tensorflow': installation.check_tensorflow,
  'processor': machine.check_processor,
  'memory': machine.check_memory,
  'disk': machine.check_disk,
  'cache': machine.check_cache,
  'jax': machine.check_jax,
  'accelerators': machine.check_accelerators,
  'data': machine.check_data,
  'training': training.check_training,
  'kernels': training.check_kernels,
}


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs,
    'doctor',
    run,
    'checks whether this machine and this installation can train',
    _DESCRIPTION,
    keeps_memory=False,
    starts_jax=False,
    group='Data and machine',
  )
  parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(arguments: argparse.Namespace) -> None:
  """Prints findings as they come, and the verdict."""
  found = []
  with process.catching_interrupts():  # so that Ctrl-C ends what was started, too
    for name, check in _CHECKS.items():
      _show_progress(f'{name} ...')
      for finding in findings.examine(name, check):
        found.append(finding)
        _show_progress('')
        if not arguments.json:
          print(findings.as_text(finding), flush=True)
  _show_progress('')
  print(findings.as_json(found) if arguments.json else f'\n{findings.verdict(found)}', flush=True)
  if not findings.is_healthy(found):
    sys.exit(1)


def _show_progress(text: str) -> None:
  """Shows what is being done, on a terminal, until something else is shown."""
  if sys.stderr is not None and sys.stderr.isatty():
    print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)
