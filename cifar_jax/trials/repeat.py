"""One config with several seeds, or on several folds of its data, in one process: one run after the
other, or all in one program.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.run_dir.progress import Progress, duration
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.trainer import resume, together
from cifar_jax.trainer.loop import train
from cifar_jax.trainer.reuse import SameButSeed
from cifar_jax.trainer.run_group import AsLaunched
from cifar_jax.trials import statistics
from cifar_jax.utils.errors import UserError, is_out_of_memory

_COLUMNS = ('val_accuracy', 'val_loss', 'test_accuracy', 'test_loss')
FINISHED, FAILED, STOPPED, WAITING = 'finished', 'failed', 'stopped', 'waiting'
# What one run may end with while the others can go on: NaN, its files, memory.
_ENDS_ONE_RUN = (UserError, MemoryError, jax.errors.JaxRuntimeError)
_OF_FOLDS = (
  'the runs of the folds share most of their training images: their deviation says how much the '
  'number depends on the part that is held out, and no interval follows from it'
)
Train = Callable[..., dict[str, Any]]


@dataclasses.dataclass
class SeedRun:
  """One seed's run.

  Attributes:
    folder: Where it is, or will be.
    state: `FINISHED`, `FAILED`, `STOPPED` (saved, and to go on) or `WAITING`.
    summary: The content of its summary.json; {} before its end.
    reason: Why it failed, in a sentence.
    of_fold: Whether it is one of several that hold out another fold each.
  """

  config: ConfigDict
  folder: pathlib.Path
  state: str = WAITING
  summary: dict[str, Any] = dataclasses.field(default_factory=dict)
  reason: str = ''
  of_fold: bool = False

  @property
  def label(self) -> str:
    """What tells it from the others."""
    seed = f'seed {self.seed}'
    return f'fold {self.fold}, {seed}' if self.of_fold else seed

  @property
  def fold(self) -> int:
    """The fold that it holds out, where it is one of several."""
    return int(self.config.data.fold)

  @property
  def seed(self) -> int:
    """Its seed."""
    return int(self.config.seed)


def plan(config: ConfigDict, folder: pathlib.Path, seeds: Sequence[int]) -> list[SeedRun]:
  """The runs of a config in FOLDER/seed_<n>, with the results of those that have finished.

  Raises:
    UserError: The config is wrong, or one of the folders holds a run with another config.
  """
  found = []
  for seed in seeds:
    own = config.copy_and_resolve_references()
    with own.unlocked():
      own.seed = seed
    run = SeedRun(own.lock(), folder / f'seed_{seed}')
    configs.validate(run.config)
    configs.validate_config_unchanged(run.config, run.folder)
    run.summary = resume.finished(run.config, run.folder, Progress('silent'))
    run.state = FINISHED if run.summary else WAITING
    found.append(run)
  return found


def plan_folds(
  config: ConfigDict, folder: pathlib.Path, seeds: Sequence[int], folds: int
) -> list[SeedRun]:
  """The runs of a cross-validation in FOLDER/fold_<n>/seed_<n>, fold after fold, as of `plan`; all
  folds of a seed are parts of one division of the training images.
  """
  found = []
  for fold in range(folds):
    own = config.copy_and_resolve_references()
    with own.unlocked():
      own.data.folds, own.data.fold = folds, fold
    runs = plan(own.lock(), folder / f'fold_{fold}', seeds)
    found += [dataclasses.replace(run, of_fold=True) for run in runs]
  return found


def train_each(
  runs: Sequence[SeedRun],
  progress: Progress,
  train_one: Train = train,
  extra_callbacks: Callable[[ConfigDict], Sequence[Any]] = lambda config: (),
  runs_after: int = 0,
) -> bool:
  """Trains those that have not finished, and notes in them what came of it.

  A run that fails is told of and the next one begins; the programs of one seed serve the others.

  Args:
    runs: As `plan` makes them.
    progress: The terminal output of all.
    train_one: `loop.train`, or what is called like it.
    extra_callbacks: Config of a run -> what else happens while it trains.
    runs_after: Runs like these that come after them, for the time left.

  Returns:
    Whether a signal stopped it.

  Raises:
    UserError: Nothing could be begun, so that no seed would fare better.
  """
  waiting = [run for run in runs if run.state != FINISHED]
  build = SameButSeed()
  with stop_signals() as stop:
    for index, run in enumerate(waiting):
      if stop.asked:
        break
      progress.runs_to_come = len(waiting) - index - 1 + runs_after
      place = f'{runs.index(run) + 1} of {len(runs)}'
      progress.note(f'\n{run.label} ({place}), {run.folder}\n')
      try:
        run.summary = train_one(
          run.config,
          run.folder,
          progress,
          extra_callbacks=extra_callbacks(run.config),
          build=build,
          stop=stop,
        )
        run.state = FINISHED if run.summary else STOPPED
      except _ENDS_ONE_RUN as error:
        if not os.path.lexists(run.folder / configs.CONFIG_NAME):
          raise  # nothing has begun
        progress.close()
        run.state, run.reason = FAILED, _sentence(error)
        progress.note(f'{run.label} failed: {run.reason}')
      finally:
        progress.brief = True
      progress.note(f'\n{table(runs)}')
    return stop.asked


def train_together(
  runs: Sequence[SeedRun],
  progress: Progress,
  extra_callbacks: Callable[[ConfigDict], Sequence[Any]] = lambda config: (),
  only_if_faster: bool = True,
  as_launched: AsLaunched = lambda config, folder: contextlib.nullcontext(),
) -> bool:
  """Trains those that have not finished in one program, as many as fit at a time, and notes in them
  what came of it.

  Args:
    runs: As `plan` makes them; those of several configs that `together.train` takes may be among
      them.
    progress: The terminal output of all.
    extra_callbacks: Config of a run -> what else happens while it trains.
    only_if_faster: Whether to refuse where one run after the other takes less time.
    as_launched: As for `together.train`.

  Returns:
    Whether a signal stopped it.

  Raises:
    NotTogetherError: One run after the other is what remains; nothing was begun.
    UserError: As `together.train`.
  """
  waiting = [run for run in runs if run.state != FINISHED]
  outcomes = together.train(
    [run.config for run in waiting],
    [run.folder for run in waiting],
    progress,
    extra_callbacks=extra_callbacks,
    only_if_faster=only_if_faster,
    as_launched=as_launched,
  )
  for run, outcome in zip(waiting, outcomes, strict=True):
    if isinstance(outcome, UserError):
      run.state, run.reason = FAILED, str(outcome)
    else:
      run.summary = outcome
      run.state = FINISHED if outcome else STOPPED
  return any(run.state == STOPPED for run in waiting)


def table(runs: Sequence[SeedRun]) -> str:
  """Each seed or fold with what it came to, then the mean, the standard deviation and, of seeds,
  the interval of what has finished.
  """
  folds = any(run.of_fold for run in runs)
  one_seed = len({run.seed for run in runs}) == 1
  finished = [run for run in runs if run.state == FINISHED]
  columns = [name for name in _COLUMNS if any(name in run.summary for run in finished)]
  lines = [['fold' if folds else 'seed', *(name.replace('_', ' ') for name in columns), 'time', '']]
  for run in runs:
    cells = [_number(name, run.summary.get(name)) for name in columns]
    seconds: float | None = run.summary.get('seconds')
    note = '' if run.state == FINISHED else run.state
    lines.append([_row(run, one_seed), *cells, duration(seconds) if seconds else '', note])
  if len(finished) > 1:
    found = {
      name: statistics.summarize([run.summary[name] for run in finished if name in run.summary])
      for name in columns
    }
    percent = f'{100 * statistics.CONFIDENCE:.0f} %'
    rows = [('mean', 'mean'), ('deviation', 'sd')]
    if not folds:
      rows += [(f'{percent} from', 'low'), (f'{percent} to', 'high')]
    for title, part in rows:
      cells = [_number(name, getattr(found[name], part)) for name in columns]
      lines.append([title, *cells, '', ''])
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  texts = [
    '  '.join(
      [line[0].ljust(widths[0])]
      + [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
      + [line[-1]]
    ).rstrip()
    for line in lines
  ]
  split_notes = sorted({text for run in finished if (text := run.summary.get('split_note'))})
  suffix = f' [{"; ".join(split_notes)}]' if split_notes else ''
  told = [_OF_FOLDS] if folds and len(finished) > 1 else []
  return '\n'.join([*texts, f'{_counted(runs)}{suffix}', *told])


def _row(run: SeedRun, one_seed: bool) -> str:
  """What its row in the table begins with."""
  if not run.of_fold:
    return str(run.seed)
  return str(run.fold) if one_seed else f'{run.fold}, seed {run.seed}'


def _counted(runs: Sequence[SeedRun]) -> str:
  """'3 of 5 seeds finished, 1 failed; 12 min 40 s in all, 5 runs at a time'."""
  counts = {state: sum(run.state == state for run in runs) for state in (FINISHED, FAILED)}
  failed = f', {counts[FAILED]} failed' if counts[FAILED] else ''
  at_a_time = [run.summary.get('runs_together', 1) for run in runs]
  # Runs of one program share its seconds.
  seconds = sum(
    run.summary.get('seconds', 0.0) / together
    for run, together in zip(runs, at_a_time, strict=True)
  )
  shared = f', {max(at_a_time)} runs at a time' if max(at_a_time) > 1 else ''
  unit = 'seeds'
  if any(run.of_fold for run in runs):
    unit = 'folds' if len({run.seed for run in runs}) == 1 else 'runs'
  return (
    f'{counts[FINISHED]} of {len(runs)} {unit} finished{failed}; {duration(seconds)} in all{shared}'
  )


def _number(column: str, value: float | None) -> str:
  if value is None:
    return ''
  return f'{100 * value:.2f} %' if column.endswith('accuracy') else f'{value:.4f}'


def _sentence(error: BaseException) -> str:
  """What went wrong, in a line."""
  if isinstance(error, UserError):
    return str(error)
  text = ' '.join(str(error).split())
  if is_out_of_memory(error):
    return f'there is not enough memory ({text[:200]})'
  return text[:300]
