"""Who trains a trial, and whether that process is still there.

A trial that runs carries its owner and a pulse in its attributes. Of an owner on this machine, the
system tells at once whether it lives, by its number and the time at which it started. The pulse of
one elsewhere is watched: no clock is compared with another machine's.
"""

import functools
import os
import pathlib
import platform
import secrets
import time
from collections.abc import Mapping
from typing import Any

import optuna
import psutil

from cifar_jax.search.attributes import OWNER, PULSE

PULSE_EVERY = 20.0  # seconds
# Without a pulse for so long, a worker of another machine counts as lost.
LOST_AFTER = 120.0


def new_owner() -> dict[str, Any]:
  """What says that this process trains a trial; no two are equal."""
  return {
    'machine': machine(),
    'pid': os.getpid(),
    'started': _started(psutil.Process()),
    'token': secrets.token_hex(8),
  }


@functools.cache
def machine() -> str:
  """A name of this machine since it was started, and of the process numbers that are seen here."""
  parts = [platform.node()]
  for name, read in (('/proc/sys/kernel/random/boot_id', True), ('/proc/self/ns/pid', False)):
    try:
      parts.append(pathlib.Path(name).read_text('utf-8').strip() if read else os.readlink(name))
    except OSError:
      continue  # not Linux
  return '/'.join(parts)


def _started(process: psutil.Process) -> float:
  """When a process began: in ticks since the machine did where the system tells, as Linux does, so
  that it stays the same when the clock is set; else in seconds by that clock.
  """
  try:
    text = pathlib.Path(f'/proc/{process.pid}/stat').read_text('utf-8', 'replace')
  except OSError:
    return process.create_time()
  # Behind the name, which may have any letter in it, the third field comes first.
  return float(text.rpartition(')')[2].split()[22 - 3])


def is_here(owner: Mapping[str, Any]) -> bool:
  """Whether the owner of a trial is, or was, a process of this machine."""
  return owner['machine'] == machine()


def process_lives(owner: Mapping[str, Any]) -> bool:
  """Whether the owner, a process of this machine, is there."""
  try:
    process = psutil.Process(owner['pid'])
    same = abs(_started(process) - owner['started']) < 1.0  # or another one has its number
    return same and process.status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


class Watch:
  """Tells whether the owners of trials are there, by what it has seen since it was made."""

  def __init__(self) -> None:
    self._seen: dict[tuple[int, str], tuple[Any, float]] = {}

  def is_owned(self, trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a process that lives trains a trial, as far as can be told."""
    owner = trial.user_attrs.get(OWNER)
    if not owner:
      return False
    if is_here(owner):
      return process_lives(owner)
    now, key, pulse = time.monotonic(), (trial.number, owner['token']), trial.user_attrs.get(PULSE)
    before, since = self._seen.get(key, (None, now))
    if key not in self._seen or before != pulse:
      self._seen[key] = pulse, now
      return True
    return now - since < LOST_AFTER
