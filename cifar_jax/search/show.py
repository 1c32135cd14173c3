"""What a person sees while a study goes on: a line for each trial, and a bar below them."""

import sys
import time
from collections.abc import Sequence

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from cifar_jax.run_dir.progress import duration
from cifar_jax.search import budget as budgets
from cifar_jax.search import objectives
from cifar_jax.search.attributes import STAGE
from cifar_jax.search.rows import Table, row_of
from cifar_jax.search.study import OpenStudy, Plan, completed, ended
from cifar_jax.search.table import PARAMETER

_SECONDS_BETWEEN_LOOKS = 1.0
_LETTERS = 160


class Show:
  """Terminal output of a study, and its trials.csv."""

  def __init__(self, bar: bool | None = None):
    self._bar_wanted = sys.stderr.isatty() if bar is None else bar
    self._bar: tqdm | None = None
    self._known: set[int] | None = None  # trials that had ended
    self._table = Table()
    self._next = 0.0
    self._begun = time.monotonic()
    self._share = 0.0

  def update(self, opened: OpenStudy, budget: budgets.Budget) -> None:
    """Looks at the study, once a second at most, and says what is new."""
    if time.monotonic() < self._next:
      return
    self._next = time.monotonic() + _SECONDS_BETWEEN_LOOKS
    self.update_now(opened, budget)

  def update_now(self, opened: OpenStudy, budget: budgets.Budget) -> None:
    """Looks at the study, and says what is new."""
    trials = opened.trials()
    self._table.write(opened, trials)
    now = ended(trials)
    share = budget.share(budgets.spent(trials, ended_only=True))
    if self._known is None:  # of earlier sessions
      self._known, self._share = {trial.number for trial in now}, share
    for trial in sorted(now, key=lambda trial: trial.datetime_complete or 0):
      if trial.number not in self._known:
        self._known.add(trial.number)
        self.note(line_of(opened, trial))
    self._move(opened, trials, share)

  def note(self, text: str) -> None:
    """Prints some lines, above the bar if there is one."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()

  def close(self) -> None:
    """Removes the bar."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None

  def _move(self, opened: OpenStudy, trials: Sequence[FrozenTrial], share: float) -> None:
    if not self._bar_wanted:
      return
    if self._bar is None:
      form = '{percentage:3.0f}% of the budget|{bar:24}| {desc}'
      self._bar = tqdm(total=1.0, bar_format=form, leave=False, dynamic_ncols=True)
    self._bar.n = share
    made, elapsed = share - self._share, time.monotonic() - self._begun
    left = f', {duration(elapsed * (1 - share) / made)} left' if made > 0 else ''
    self._bar.set_description_str(f'{counted(trials)}, {best_words(opened, trials)}{left}')


def best_trials(opened: OpenStudy, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
  """The best trial; of several objectives those that no other is better than in all, the best by
  the first objective first. Where a study has stages, of the last one in which any has completed.
  """
  done = completed(trials)
  last = last_stage(done)
  signs = [1 if d is StudyDirection.MAXIMIZE else -1 for d in opened.study.directions]
  scored = [
    (tuple(s * v for s, v in zip(signs, trial.values, strict=True)), trial)
    for trial in done
    if trial.user_attrs.get(STAGE, 0) == last
  ]
  front = [
    (scores, trial)
    for scores, trial in scored
    if not any(
      other != scores and all(a >= b for a, b in zip(other, scores, strict=True))
      for other, _ in scored
    )
  ]
  ordered = [trial for _, trial in sorted(front, key=lambda pair: pair[0], reverse=True)]
  return ordered if len(signs) > 1 else ordered[:1]


def last_stage(done: Sequence[FrozenTrial]) -> int:
  """The last stage of a study of which any of these trials is; 0 where it has none."""
  return max((trial.user_attrs.get(STAGE, 0) for trial in done), default=0)


def way_of(plan: Plan) -> str:
  """What decides which configs are tried."""
  if plan.settings:
    return ', '.join(f'{name} {value}' for name, value in plan.settings.items() if value != '')
  return f'sampler {plan.sampler}, pruner {plan.pruner}'


def counted(trials: Sequence[FrozenTrial]) -> str:
  """'12 trials', of those that have ended."""
  count = len(ended(trials))
  return f'{count} trial{"" if count == 1 else "s"}'


def best_words(opened: OpenStudy, trials: Sequence[FrozenTrial]) -> str:
  """'best 72.10 % (trial 7)'."""
  found = best_trials(opened, trials)
  return f'best {values_of(opened, found[0])} (trial {found[0].number})' if found else 'none yet'


def values_of(opened: OpenStudy, trial: FrozenTrial) -> str:
  """'val_accuracy 72.10 %, seconds 34.0 s'."""
  names = opened.plan.objectives
  return ', '.join(
    f'{name} {objectives.shown(name, v)}'
    for name, v in zip(names, trial.values or (), strict=False)
  )


def line_of(opened: OpenStudy, trial: FrozenTrial, letters: int | None = _LETTERS) -> str:
  """What became of a trial, cut off after some letters."""
  row = row_of(opened, trial)
  result = values_of(opened, trial) if trial.state is TrialState.COMPLETE else row['reason']
  options = ' '.join(
    f'{name.removeprefix(PARAMETER)}={value:.4g}'
    if isinstance(value, float)
    else f'{name.removeprefix(PARAMETER)}={value}'
    for name, value in row.items()
    if name.startswith(PARAMETER)
  )
  parts = [f'trial {trial.number:4d}  {row["state"]:8s}', result, duration(row['seconds']), options]
  text = '  '.join(filter(None, parts))
  return text if letters is None or len(text) <= letters else f'{text[: letters - 3]}...'
