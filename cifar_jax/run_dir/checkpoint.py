"""Checkpoints of a run: two Orbax folders behind `save`, `restore`, `latest` and `best`.

A run's folder holds `checkpoints/STEP` (the latest few, to resume from) and `best/STEP` (one, the
best by validation). They are two because one Orbax manager that ranks by a metric evicts the newest
checkpoint when it is not among the best, and a resumed run would silently go back. A checkpoint
becomes visible by a rename once it is complete, so a process killed in the middle of a save leaves
the older ones as they were. Whatever is read is compared with the checksums that were saved with
it; where they differ, the next older checkpoint takes its place.

What is written is a copy of the state on the host, by `host_copy`, so that a thread can write it
while the devices go on. Of several processes the first one alone writes, since every process holds
the whole state, and each reads for itself: none waits for another.
"""

import contextlib
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
from absl import logging
from flax import traverse_util

from cifar_jax.config.migrations import FORMAT, format_of
from cifar_jax.devices import multihost
from cifar_jax.run_dir import checksums
from cifar_jax.run_dir.host_copy import uncopied
from cifar_jax.run_dir.state_migrations import migrated
from cifar_jax.training.steps import TrainState, abstract_state
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors

if TYPE_CHECKING:
  from cifar_jax.run_dir.orbax_folder import OrbaxFolder

LATEST, BEST = 'checkpoints', 'best'
_MARGIN = 2**17  # bytes of a checkpoint beside the arrays and facts: some twenty small files


class Checkpoints:
  """The checkpoints under one run folder; use as a context manager.

  One thread at a time may use it.
  """

  def __init__(
    self, run: pathlib.Path, keep: int = 1, *, read_only: bool = False, read_back: bool = False
  ):
    self._run = run.absolute()
    self._writes = not read_only and multihost.is_main_process()
    self._kept = {LATEST: keep, BEST: 1}
    self._read_back = read_back
    self._unreadable: set[tuple[str, int]] = set()
    with disk_errors(self._run):
      for name in self._kept if self._writes else ():
        (self._run / name).mkdir(parents=True, exist_ok=True)
      self._folders = self._opened()

  def _opened(self) -> dict[str, 'OrbaxFolder']:
    """Name -> those of the two folders that are there."""
    there = {name: self._run / name for name in self._kept if (self._run / name).is_dir()}
    if not there:
      return {}
    from cifar_jax.run_dir.orbax_folder import OrbaxFolder

    # All checkpoints stay, where the newest has to prove itself first; see `_prove`.
    keep = dict.fromkeys(there, None) if self._read_back else self._kept
    return {
      name: OrbaxFolder(folder, keep[name], writes=self._writes) for name, folder in there.items()
    }

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    for folder in self._folders.values():
      folder.close()

  def latest(self) -> int | None:
    """The newest complete step to resume from, or None."""
    return next((step for _, step in self._candidates('latest')), None)

  def best(self) -> int | None:
    """The step with the best validation metric so far, or None."""
    return next((step for _, step in self._candidates('best')), None)

  def steps(self) -> list[int]:
    """Every complete step on disk, ascending."""
    return sorted({step for folder in self._folders.values() for step in folder.steps()})

  def save(self, state: TrainState, facts: Mapping[str, Any], *, best: bool = False) -> None:
    """Writes the whole state and some JSON facts; a step that is there already is left alone.

    Args:
      state: The state of the step to save, whole on the host, as of `host_copy.on_host`, or on CPU.
      facts: The facts that the host has to remember, such as seconds trained and validation
        metrics.
      best: Whether this is the new best one (which replaces the old) instead of one to resume from.

    Raises:
      UserError: The disk is full, the folder cannot be written, or what was written cannot be read
        back; older checkpoints stay complete.
    """
    name = BEST if best else LATEST
    folder = self._folders[name]
    step = int(state.step)
    if step in folder.steps() and (name, step) not in self._unreadable:
      return
    sealed = checksums.sealed({**facts, 'format': FORMAT}, checksums.record(state))
    with disk_errors(self._run):
      # Asked beforehand: in the middle of a save, Orbax's threads each print what they think of it.
      arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
      if shutil.disk_usage(self._run).free < arrays + len(json.dumps(sealed)) + _MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      if (name, step) in self._unreadable:
        folder.delete(step)
        self._unreadable.remove((name, step))
      self._write(name, step, state, sealed)
      if self._read_back:
        self._prove(name, step, state, sealed)

  def _write(self, name: str, step: int, state: TrainState, sealed: Mapping[str, Any]) -> None:
    self._folders[name].add(step, uncopied(state), sealed)
    if (folder := self._run / name / str(step)).is_dir():
      checksums.seal_files(folder)

  def _prove(self, name: str, step: int, state: TrainState, sealed: Mapping[str, Any]) -> None:
    """Reads a new checkpoint, writes it once more where it is damaged, then deletes older ones."""
    folder = self._folders[name]
    sharding = _first_device()
    try:
      self._read(name, step, None, sharding)
    except Exception:  # many kinds, as in `_first_readable`
      folder.delete(step)
      self._write(name, step, state, sealed)
      try:
        self._read(name, step, None, sharding)
      except Exception as error:
        folder.delete(step)
        raise UserError(
          f'the checkpoint of step {step} was written to {self._run / name} twice and cannot be '
          f'read back ({_reason(error)}); older ones are there still: see that the folder keeps '
          'what is written, then give the same command again'
        ) from None
    # A damaged one may be of a later step, from which the run could not go on.
    others = sorted(
      (other for other in folder.steps() if other != step),
      key=lambda other: ((name, other) not in self._unreadable, other),
      reverse=True,
    )
    for other in others[self._kept[name] - 1 :]:
      folder.delete(other)
      self._unreadable.discard((name, other))

  def restore(
    self, target: TrainState, which: str = 'latest'
  ) -> tuple[TrainState, dict[str, Any]] | None:
    """Reads a checkpoint onto the devices of `target`.

    Args:
      target: The abstract state (shapes, dtypes, shardings), so any number or kind of devices will
        do.
      which: 'latest', 'best', or a step number as text.

    Returns:
      (state, facts), or None if the run has no checkpoint yet. A damaged newest one is passed over
      with a warning.

    Raises:
      UserError: no such step, a checkpoint of something else, or none that can be read.
    """
    found = self._first_readable(which, target)
    if found is None:
      return None
    arrays, facts = found
    return jax.tree.map_with_path(lambda path, _: arrays[checksums.name(path)], target), facts

  def restore_variables(
    self, which: str = 'latest', averaged: bool = False
  ) -> tuple[dict[str, Any], int] | None:
    """Reads what the network is applied with onto the first device, whatever trained it.

    Neither the optimizer nor the devices of the run need be known, only the checkpoint.

    Args:
      which: 'latest', 'best', or a step number as text.
      averaged: Whether to read the averages in place of the trained weights.

    Returns:
      (the collections 'params' and 'batch_stats', the step), or None if there is no checkpoint yet.
      A damaged newest one is passed over with a warning.

    Raises:
      UserError: no such step, or no checkpoint can be read.
    """
    found = self._first_readable(which, None)
    if found is None:
      return None
    arrays, _ = found
    prefix = 'averaged/' if averaged else ''
    collections = tuple(f'{prefix}{name}/' for name in ('params', 'batch_stats'))
    chosen = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(collections)}
    variables = {'params': {}, 'batch_stats': {}, **traverse_util.unflatten_dict(chosen, sep='/')}
    return variables, int(arrays['step'])

  def facts(self, which: str = 'latest') -> dict[str, Any]:
    """The facts of the newest checkpoint whose facts can be read; {} without one."""
    for name, step in self._candidates(which):
      with contextlib.suppress(Exception):  # whoever needs its arrays says so
        return checksums.opened(self._folders[name].facts(step))[0]
    return {}

  def _first_readable(
    self, which: str, target: TrainState | None
  ) -> tuple[dict[str, jax.Array], dict[str, Any]] | None:
    """The arrays, by path, and the facts of the newest checkpoint that is not damaged.

    Args:
      which: As for `restore`.
      target: The abstract state that the arrays must fit, and whose devices they are put on. None:
        whatever is there, on the first device.

    Raises:
      UserError: The checkpoint is of something else, or of a newer version.
    """
    sharding = _first_device() if target is None else jax.tree.leaves(target)[0].sharding
    failures = []
    for name, step in self._candidates(which):
      try:
        state, facts, number = self._read(name, step, target, sharding)
      except UserError:
        raise
      # Orbax and TensorStore raise many kinds for a damaged file; what they have in common is that
      # it is unreadable.
      except Exception as error:
        self._unreadable.add((name, step))
        failures.append(f'step {step} ({_reason(error)})')
        continue
      if failures:
        logging.warning(
          'checkpoint of %s in %s cannot be read; that of step %d is used in its place',
          '; '.join(failures),
          self._run,
          step,
        )
      elif which == 'latest' and name == BEST:
        logging.warning(
          '%s holds no checkpoint; the one of step %d in %s is used in its place',
          *(self._run / LATEST, step, self._run / BEST),
        )
      return migrated(checksums.leaves(state), number), facts
    if failures:
      others = sorted(set(self.steps()) - {step for _, step in self._candidates(which)})
      remedy = (
        f'; other checkpoints of it are of steps {others}'
        if others
        else '; move the folder away or choose another --workdir'
      )
      raise UserError(
        f'no checkpoint in {self._run} can be read, tried {"; ".join(failures)}: '
        f'they are damaged{remedy}'
      )
    return None

  def _read(
    self, name: str, step: int, target: TrainState | None, sharding: jax.sharding.Sharding
  ) -> tuple[Any, dict[str, Any], int]:
    """The state, the facts and the format of a checkpoint, compared with its checksums.

    Raises:
      UserError: It is of something else than `target`, or of a newer version.
      Exception: It is damaged; Orbax and TensorStore have many kinds for that.
    """
    folder, path = self._folders[name], self._run / name / str(step)
    checksums.check_files(path)
    facts, arrays = checksums.opened(folder.facts(step))
    saved = folder.metadata(step)
    number = format_of(facts, f'checkpoint {path}')
    if target is not None:
      record = migrated(arrays or checksums.unchecked_record(saved), number)
      checksums.check_same(record, target, path)
    state = folder.state(step, abstract_state(saved, sharding))
    if arrays is not None:
      checksums.check(state, arrays)
    return state, facts, number

  def _candidates(self, which: str) -> list[tuple[str, int]]:
    """Where to look, the newest first; the best one is the last resort for the latest."""
    if which in ('latest', 'best'):
      folders = [LATEST, BEST] if which == 'latest' else [BEST]
      return [
        (name, step)
        for name in folders
        if name in self._folders
        for step in sorted(self._folders[name].steps(), reverse=True)
      ]
    if not which.isdecimal():
      raise UserError(f"checkpoint '{which}' is not 'latest', 'best' or a step number")
    found = [(n, int(which)) for n, f in self._folders.items() if int(which) in f.steps()]
    if not found:
      raise UserError(f'{self._run} has no checkpoint of step {which}; it has {self.steps()}')
    return found


def _first_device() -> jax.sharding.Sharding:
  return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _reason(error: Exception) -> str:
  first_line, *_ = str(error).strip().split('\n')
  return f'{type(error).__name__}: {first_line[:200]}'
