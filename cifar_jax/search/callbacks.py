"""What happens around the updates of a trial's run, beside what happens around those of any run."""

from collections.abc import Callable

from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training.steps import TrainState


class ReportEpochs(Callback):
  """Hands the validation of each epoch over.

  Args:
    column: The column of the history that is reported.
    report: (epoch, value) -> nothing; what it raises ends the run.
  """

  def __init__(self, column: str, report: Callable[[int, float], None]):
    self._column, self._report = column, report

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Reports the epoch."""
    row = session.rows[-1]
    self._report(int(row['epoch']), row[self._column])
    return state
