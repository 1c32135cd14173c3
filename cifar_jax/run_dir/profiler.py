"""Recording what the devices do during some steps of a run, for TensorBoard's profile page."""

import pathlib
from contextlib import AbstractContextManager
from typing import Any

import jax
from ml_collections import ConfigDict


class Profiler:
  """Records one stretch of steps of this session.

  The trace is written below the run's TensorBoard folder, where `tensorboard --logdir RUN` finds it
  if the package `tensorboard-plugin-profile` is installed; Perfetto (ui.perfetto.dev) opens the
  `trace.json.gz` in it without any.
  """

  def __init__(self, config: ConfigDict, run: pathlib.Path, first_step: int):
    """Plans the recording.

    Args:
      config: the section `profile`.
      run: folder of the run.
      first_step: of this session; `config.after_steps` counts from it, since the first steps of a
        session compile.
    """
    self._folder = run / 'tensorboard'
    self._steps = config.steps
    self._start = first_step + config.after_steps
    self._under_way = False
    self._done = not config.steps

  def dispatch(self, step: int) -> AbstractContextManager[Any]:
    """Surrounds the dispatch that follows update `step`, to mark it; first starts to record, if the
    time has come.
    """
    if not self._done and not self._under_way and step >= self._start:
      jax.profiler.start_trace(self._folder)
      self._under_way = True
    return jax.profiler.StepTraceAnnotation('train', step_num=step)

  def after(self, step: int, result: Any) -> str:
    """Ends the recording once `step` updates are made.

    Args:
      step: updates made.
      result: arrays of the last of them, which the devices may still be computing.

    Returns:
      A line for the user when the trace has been written, else ''.
    """
    if not self._under_way or step < self._start + self._steps:
      return ''
    jax.block_until_ready(result)
    self.close()
    return f'trace of {self._steps} steps in {self._folder / "plugins" / "profile"}'

  def close(self) -> None:
    """Writes what was recorded so far; nothing if nothing is being recorded."""
    if self._under_way:
      jax.profiler.stop_trace()
      self._under_way, self._done = False, True
