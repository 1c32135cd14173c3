"""Records the looks at the test set that trainings in the folder of a study take."""

from cifar_jax.devices import multihost
from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training.steps import TrainState
from cifar_jax.trials import test_looks


class LookRecorder(Callback):
  """Records that a run of a study is measured on the test set, before it is: at its end, or
  from its beginning on where the test set is its validation set.

  Args:
    by: The command that trains.
  """

  def __init__(self, by: str):
    self._by = by

  def start(self, session: RunSession, step: int) -> None:
    """Records it where each epoch will be measured on the test set."""
    if session.splits.has_test and session.splits.validation_is_test:
      self._record(session, f'validated on it from step {step} on')

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """Records it where the test set is opened now."""
    apart = session.splits.has_test and not session.splits.validation_is_test
    if apart and session.trainer.config.evaluate.test and not interrupted:
      self._record(session, f'after step {step}')

  def _record(self, session: RunSession, note: str) -> None:
    if multihost.is_main_process():
      test_looks.record(session.folder, self._by, note)
