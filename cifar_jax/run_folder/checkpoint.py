"""Checkpoints of a run: Orbax behind `save`, `restore`, `latest` and `best`.

A run's folder holds `checkpoints/STEP` (the latest few, to resume from) and `best/STEP` (one, the
best by validation). They are two folders because one Orbax manager that ranks by a metric evicts
the newest checkpoint when it is not among the best, and a resumed run would silently go back. A
checkpoint becomes visible by a rename once it is complete, so a process killed in the middle of a
save leaves the older ones as they were.
"""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from cifar_jax.errors import UserError
from cifar_jax.training.steps import TrainState

LATEST, BEST = 'checkpoints', 'best'
_MARGIN = 2**17  # bytes of a checkpoint beside the arrays: some twenty small files


class Checkpoints:
  """The checkpoints under one run folder; use as a context manager."""

  def __init__(self, run: pathlib.Path, keep: int = 1, *, read_only: bool = False):
    self._run = run.absolute()
    self._unreadable: set[tuple[str, int]] = set()
    with disk_errors(self._run), _quiet_reader(read_only):
      self._managers = {
        name: ocp.CheckpointManager(
          self._run / name,
          item_handlers={
            'state': ocp.StandardCheckpointHandler(),
            'facts': ocp.JsonCheckpointHandler(),
          },
          options=ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.LatestN(count),
            # Eight megabytes are written in a tenth of a second; a synchronous save cannot fail
            # unnoticed.
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            create=not read_only,
          ),
        )
        for name, count in ((LATEST, keep), (BEST, 1))
        if not read_only or (self._run / name).is_dir()
      }

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: types.TracebackType | None,
  ) -> None:
    for manager in self._managers.values():
      manager.close()

  def latest(self) -> int | None:
    """The newest complete step to resume from, or None."""
    return self._newest(LATEST)

  def best(self) -> int | None:
    """The step with the best validation metric so far, or None."""
    return self._newest(BEST)

  def steps(self) -> list[int]:
    """Every complete step on disk, ascending."""
    return sorted({step for manager in self._managers.values() for step in manager.all_steps()})

  def save(self, state: TrainState, facts: Mapping[str, Any], *, best: bool = False) -> None:
    """Writes the whole state and some JSON facts; a step that is there already is left alone.

    Args:
      state: of the step to save.
      facts: what the host has to remember, such as seconds trained and validation metrics.
      best: whether this is the new best one (which replaces the old) instead of one to resume from.

    Raises:
      UserError: the disk is full or the folder cannot be written; older checkpoints stay complete.
    """
    name = BEST if best else LATEST
    manager = self._managers[name]
    step = int(jax.device_get(state.step))
    if step in manager.all_steps() and (name, step) not in self._unreadable:
      return
    with disk_errors(self._run):
      # Asked beforehand: in the middle of a save, Orbax's threads each print what they think of it.
      needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + _MARGIN
      if shutil.disk_usage(self._run).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      if (name, step) in self._unreadable:
        manager.delete(step)
        self._unreadable.remove((name, step))
      manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), facts=ocp.args.JsonSave(dict(facts))
        ),
        force=True,
      )
      manager.wait_until_finished()

  def restore(
    self, target: TrainState, which: str = 'latest'
  ) -> tuple[TrainState, dict[str, Any]] | None:
    """Reads a checkpoint onto the devices of `target`.

    Args:
      target: abstract state (shapes, dtypes, shardings), so any number or kind of devices will do.
      which: 'latest', 'best', or a step number as text.

    Returns:
      (state, facts), or None if the run has no checkpoint yet. A damaged newest one is passed over
      with a warning.

    Raises:
      UserError: no such step, or no checkpoint can be read.
    """
    candidates = self._candidates(which)
    failures = []
    for name, step in candidates:
      try:
        self._check_shapes(name, step, target)
        restored = self._managers[name].restore(
          step,
          args=ocp.args.Composite(
            state=ocp.args.StandardRestore(target), facts=ocp.args.JsonRestore()
          ),
        )
      except UserError:
        raise
      # Orbax and TensorStore raise many kinds for a damaged file; what they have in common is that
      # it is unreadable.
      except Exception as error:
        reason = str(error).strip().split('\n')[0][:200]
        self._unreadable.add((name, step))
        failures.append(f'step {step} ({type(error).__name__}: {reason})')
        logging.warning('checkpoint %s cannot be read: %s', self._run / name / str(step), reason)
        continue
      return restored.state, dict(restored.facts)
    if failures:
      raise UserError(
        f'no checkpoint in {self._run} can be read, tried {"; ".join(failures)}: '
        'they are damaged; move the folder away or choose another --workdir'
      )
    return None

  def restore_variables(
    self, which: str = 'latest', averaged: bool = False
  ) -> tuple[dict[str, Any], int] | None:
    """Reads what the network is applied with onto the first device, whatever trained it.

    Neither the optimiser nor the devices of the run need be known, only the checkpoint.

    Args:
      which: 'latest', 'best', or a step number as text.
      averaged: the slow copy in place of the trained weights.

    Returns:
      (the collections 'params' and 'batch_stats', the step), or None if there is no checkpoint yet.

    Raises:
      UserError: no such step, or no checkpoint can be read.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    failures = []
    for name, step in self._candidates(which):
      try:
        saved = self._managers[name].item_metadata(step)['state']
        state = (
          self._managers[name]
          .restore(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state(saved, device))),
          )
          .state
        )
      except Exception as error:  # see `restore`
        failures.append(f'step {step} ({type(error).__name__})')
        continue
      chosen = state['slow'] if averaged else state
      return {name: chosen.get(name, {}) for name in ('params', 'batch_stats')}, step
    if failures:
      raise UserError(f'no checkpoint in {self._run} can be read, tried {"; ".join(failures)}')
    return None

  def facts(self) -> dict[str, Any]:
    """The facts of the newest checkpoint whose facts can be read, without its state; or {}."""
    for name, step in [*self._candidates('latest'), *self._candidates('best')]:
      # What a damaged file raises is of many kinds, see `restore`.
      with contextlib.suppress(Exception):
        arguments = ocp.args.Composite(facts=ocp.args.JsonRestore())
        return dict(self._managers[name].restore(step, args=arguments).facts)
    return {}

  def _check_shapes(self, name: str, step: int, target: TrainState) -> None:
    """Raises UserError, naming what differs, if the checkpoint is of another network."""
    metadata = self._managers[name].item_metadata(step)['state']
    saved, wanted = _shapes(metadata['params']), _shapes(target.params)
    differences = [
      f'{path} is {saved.get(path, "missing")} there and {wanted.get(path, "missing")} here'
      for path in sorted(saved.keys() | wanted.keys())
      if saved.get(path) != wanted.get(path)
    ]
    if differences:
      raise UserError(
        f'checkpoint {self._run / name / str(step)} is of another network: '
        f'{"; ".join(differences[:3])}; use its own config, or choose another --workdir'
      )

  def _newest(self, name: str) -> int | None:
    return self._managers[name].latest_step() if name in self._managers else None

  def _candidates(self, which: str) -> list[tuple[str, int]]:
    if which in ('latest', 'best'):
      name = LATEST if which == 'latest' else BEST
      steps = self._managers[name].all_steps() if name in self._managers else []
      return [(name, step) for step in sorted(steps, reverse=True)]
    if not which.isdecimal():
      raise UserError(f"checkpoint '{which}' is not 'latest', 'best' or a step number")
    found = [(n, int(which)) for n, m in self._managers.items() if int(which) in m.all_steps()]
    if not found:
      raise UserError(f'{self._run} has no checkpoint of step {which}; it has {self.steps()}')
    return found


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): leaf.shape for path, leaf in leaves
  }


def abstract_state(state: Any, sharding: jax.sharding.Sharding) -> Any:
  """Shapes and dtypes of `state`, each to be placed with `sharding`: the target for `restore`."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes readable JSON so that the file is either the old one or the whole new one; of several
  processes the first does.
  """
  if jax.process_index() > 0:
    return
  with disk_errors(path.parent):
    temporary = path.with_name(f'.{path.name}.partial')
    temporary.write_text(json.dumps(content, indent=2, sort_keys=False) + '\n')
    temporary.replace(path)


@contextlib.contextmanager
def _quiet_reader(read_only: bool) -> Iterator[None]:
  """Keeps Orbax from warning that what is opened to be read only is read-only."""
  verbosity = logging.get_verbosity()
  if read_only:
    logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


@contextlib.contextmanager
def disk_errors(folder: pathlib.Path) -> Iterator[None]:
  """Turns what a full or forbidden disk raises, in Python or in TensorStore, into one sentence."""
  try:
    yield
  except Exception as error:
    text = str(error)
    full = 'No space left' in text or 'RESOURCE_EXHAUSTED' in text or 'quota' in text.lower()
    if not full and not isinstance(error, OSError):
      raise
    cause = 'the disk is full' if full else text.split('\n')[0]
    raise UserError(
      f'cannot write to {folder}: {cause}; what was saved before is complete, '
      'so mend that and run the same command again'
    ) from error
