"""A folder of checkpoints as Orbax keeps it: FOLDER/STEP, each with arrays and facts.

What Orbax raises is left as it is. It takes a quarter of a second to import, so whoever may do
without a checkpoint imports this module where there is one.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers


class OrbaxFolder:
  """The checkpoints in one folder; one thread at a time may use it.

  Of several processes each reads and writes for itself, and none waits for another.
  """

  def __init__(self, folder: pathlib.Path, keep: int | None, *, writes: bool):
    """Opens a folder that is there.

    Args:
      keep: How many of the newest checkpoints stay when one is added; None: all.
      writes: Whether checkpoints are added and deleted; parts of unfinished ones are deleted then.
    """
    alone = ocp.options.MultiprocessingOptions(
      primary_host=jax.process_index(), active_processes={jax.process_index()}
    )
    with _quiet():
      self._manager = ocp.CheckpointManager(
        folder,
        item_handlers={
          'state': ocp.StandardCheckpointHandler(multiprocessing_options=alone),
          'facts': ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        },
        options=ocp.CheckpointManagerOptions(
          preservation_policy=checkpoint_managers.LatestN(keep),
          # The thread of `background` is: it keeps the order of what is written, of which this
          # folder is a part, and nothing that fails there goes unnoticed.
          enable_async_checkpointing=False,
          cleanup_tmp_directories=writes,
          read_only=not writes,
          create=False,
          multiprocessing_options=alone,
        ),
      )

  def steps(self) -> list[int]:
    """Those of the complete checkpoints."""
    return list(self._manager.all_steps())

  def add(self, step: int, state: Any, facts: Mapping[str, Any]) -> None:
    """Writes a checkpoint, which is complete when this returns, and deletes what is too much."""
    arrays = ocp.args.StandardSave(state)
    items = ocp.args.Composite(state=arrays, facts=ocp.args.JsonSave(facts))
    self._manager.save(step, args=items, force=True)
    self._manager.wait_until_finished()

  def delete(self, step: int) -> None:
    """Deletes a checkpoint."""
    self._manager.delete(step)

  def facts(self, step: int) -> dict[str, Any]:
    """The facts of a checkpoint."""
    with _quiet():
      items = ocp.args.Composite(facts=ocp.args.JsonRestore())
      return dict(self._manager.restore(step, args=items).facts)

  def metadata(self, step: int) -> Any:
    """The tree of the arrays of a checkpoint, with their shapes and dtypes."""
    with _quiet():
      return self._manager.item_metadata(step)['state']

  def state(self, step: int, abstract: Any) -> Any:
    """The arrays of a checkpoint, on the devices that an abstract state of their tree names."""
    with _quiet():
      items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
      return self._manager.restore(step, args=items).state

  def close(self) -> None:
    """Ends the threads."""
    self._manager.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps Orbax from printing, from its threads, tracebacks of what it raises here as well, and
  from warning that what is opened to be read only is read-only.
  """
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
