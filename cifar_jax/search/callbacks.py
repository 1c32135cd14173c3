"""What happens around the updates of a trial's run, beside what happens around those of any run."""

from collections.abc import Callable, Mapping

from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training.steps import TrainState


class ReportEpochs(Callback):
  """Hands each epoch over.

  Args:
    report: Row of the history -> nothing; what it raises ends the run.
  """

  def __init__(self, report: Callable[[Mapping[str, float]], None]):
    self._report = report

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Reports the epoch."""
    self._report(session.rows[-1])
    return state
