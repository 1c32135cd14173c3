"""The rows of a study's table, of what its storage knows."""

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cifar_jax.search import budget as budgets
from cifar_jax.search import claims, table
from cifar_jax.search.attributes import CONFIG, MADE_EPOCHS, REASON, SHOWN
from cifar_jax.search.study import OpenStudy

_STATES = dict(
  zip(
    (
      *(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL),
      *(TrialState.RUNNING, TrialState.WAITING),
    ),
    table.STATES,
    strict=True,
  )
)


def options_of(trial: FrozenTrial) -> dict[str, Any]:
  """What was suggested for a trial, or will be, and what else tells it from others."""
  suggested = trial.params or trial.system_attrs.get('fixed_params', {})
  return {**suggested, **trial.user_attrs.get(SHOWN, {})}


def row_of(opened: OpenStudy, trial: FrozenTrial) -> dict[str, Any]:
  """The row of a trial; one that runs nowhere waits for a worker."""
  attributes, state = trial.user_attrs, _STATES[trial.state]
  if state == 'running' and not claims.Watch().is_owned(trial):
    state = 'waiting'
  seed = attributes.get(CONFIG, {}).get('seed', 0)
  run = opened.run_of(trial.number, seed).relative_to(opened.folder).as_posix()
  values = trial.values if state == 'complete' else None
  return {
    'number': trial.number,
    'state': state,
    'reason': attributes.get(REASON, '') if state in ('pruned', 'failed') else '',
    'seconds': budgets.seconds(attributes),
    'epochs': attributes.get(MADE_EPOCHS, 0),
    **dict(zip(opened.plan.objectives, values or (), strict=False)),
    'run': run,
    **{f'{table.PARAMETER}{name}': value for name, value in options_of(trial).items()},
  }


class Table:
  """The study's trials.csv, which is written where a trial has another state or other epochs."""

  def __init__(self) -> None:
    self._ended: dict[int, dict[str, Any]] = {}
    self._written: list[tuple[Any, ...]] = []

  def write(self, opened: OpenStudy, trials: Sequence[FrozenTrial]) -> None:
    """Writes it, if there is anything new."""
    rows = []
    for trial in trials:
      row = self._ended.get(trial.number) or row_of(opened, trial)
      if trial.state.is_finished():
        self._ended[trial.number] = row
      rows.append(row)
    shown = [(row['number'], row['state'], row['epochs']) for row in rows]
    if shown != self._written:
      table.write_table(opened.folder, rows, opened.plan.objectives)
      self._written = shown
