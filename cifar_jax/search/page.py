"""The page of a study: what its trials found, which options mattered, and all of them."""

import copy
import datetime
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from cifar_jax.figures import files, study_charts
from cifar_jax.run_dir.progress import duration
from cifar_jax.search import budget as budgets
from cifar_jax.search import objectives, show
from cifar_jax.search.attributes import STAGE
from cifar_jax.search.breeder import individuals
from cifar_jax.search.evolution import parse_stages
from cifar_jax.search.family_tree import family_tree
from cifar_jax.search.results import BEST_NAME, launch_line
from cifar_jax.search.rows import row_of
from cifar_jax.search.study import OpenStudy, completed, reopen
from cifar_jax.search.table import PARAMETER
from cifar_jax.trials import groups, test_looks
from cifar_jax.utils.optional_deps import require

PAGE_NAME = 'index.html'
_SHORT = ('number', 'state', 'seconds', 'epochs')
_TEXTS = ('state', 'reason')
_ENOUGH = 4  # trials for an importance
_IMPORTANCE_NOTE = (
  'Importance is the share of an option in what tells the best trials from the others (PED-ANOVA). '
  'Of few trials it is a rough guess, and it says nothing of values outside of the space.'
)


def write_page(opened: OpenStudy) -> pathlib.Path:
  """Writes the page and its pictures into the study's folder.

  Raises:
    UserError: a package is missing, or the disk is full.
  """
  require('report', 'matplotlib', 'jinja2')
  trials, names = opened.trials(), opened.plan.objectives
  rows = [row_of(opened, trial) for trial in trials]
  done, best = completed(trials), show.best_trials(opened, trials)
  cost = budgets.spent(trials, ended_only=True)
  states = [row['state'] for row in rows]
  counted = ', '.join(
    f'{states.count(state)} {state}' for state in dict.fromkeys(states) if state != 'complete'
  )
  drawn = _charts(opened, trials, rows)
  saved = {
    name: files.save_figure(figure, opened.folder, f'study_{name}')
    for name, figure in drawn.items()
  }
  wide = [saved.pop(name) for name in ('family_tree', 'slices', 'parallel') if name in saved]
  parameters = sorted({name for row in rows for name in row if name.startswith(PARAMETER)})
  columns = list(dict.fromkeys((*_SHORT, *names, *parameters, 'reason')))
  content = {
    'title': opened.folder.name,
    'about': (
      f'{opened.plan.kind} of {opened.plan.space}: {", ".join(names)} by validation, '
      f'{show.way_of(opened.plan)}, '
      f'{opened.plan.seeds} run{"s" if opened.plan.seeds > 1 else ""} per trial'
    ),
    'tiles': [
      *((objectives.shown(name, v), f'best {name}') for name, v in _best_values(opened, best)),
      (len(done), f'trials trained to their end{f"; {counted}" if counted else ""}'),
      (cost.epochs, 'epochs'),
      (duration(60 * cost.minutes), 'of work, summed over the workers'),
    ],
    'test_note': _capital(test_looks.sentence(opened.folder)),
    'written': f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC',
    'best_lines': [show.line_of(opened, trial, letters=None) for trial in best],
    'command': launch_line(opened.folder / BEST_NAME),
    'charts': list(saved.values()),
    'wide': wide,
    'importance_note': _IMPORTANCE_NOTE if 'importance' in drawn else '',
    'columns': [(name.removeprefix(PARAMETER), name in _TEXTS) for name in columns],
    'rows': [[(_cell(name, row.get(name)), name in _TEXTS) for name in columns] for row in rows],
  }
  page = opened.folder / PAGE_NAME
  files.write_page(page, 'study.html', content)
  return page


def write_again(folder: pathlib.Path, storage: str = '') -> None:
  """Writes the page of a study anew, if it has one: of a look at the test set it then tells.

  Args:
    folder: The study's folder.
    storage: As `study.reopen` takes it.

  Raises:
    UserError: as `write_page`, and as `study.reopen`.
  """
  if (folder / PAGE_NAME).is_file():
    write_page(reopen(folder, storage))


def importances(opened: OpenStudy) -> dict[str, float]:
  """Option -> its share in what makes trials good, by the first objective, the largest first; {} of
  too few trials.
  """
  done = completed(opened.trials())
  if len(done) < _ENOUGH or len({trial.values[0] for trial in done}) < 2:
    return {}
  several = len(opened.plan.objectives) > 1
  # Where the values of trials are given, those are good that are low.
  sign = -1 if opened.study.directions[0] is StudyDirection.MAXIMIZE else 1
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      return optuna.importance.get_param_importances(
        _in_words(opened, done), target=(lambda trial: sign * trial.values[0]) if several else None
      )
    except (ValueError, RuntimeError):  # no option that all of them have, or none that varies
      return {}


def _in_words(opened: OpenStudy, trials: Sequence[FrozenTrial]) -> optuna.Study:
  """A study in memory of some trials, whose choices of lists and dictionaries are words: Optuna's
  importances know no others.
  """

  def word(value: Any) -> Any:
    return str(value) if isinstance(value, tuple | list | dict) else value

  storage = optuna.storages.InMemoryStorage()
  made = optuna.create_study(storage=storage, directions=opened.study.directions)
  for trial in trials:
    told = copy.copy(trial)
    told.params = {name: word(value) for name, value in trial.params.items()}
    told.distributions = {
      name: CategoricalDistribution([word(choice) for choice in kind.choices])
      if isinstance(kind, CategoricalDistribution)
      else kind
      for name, kind in trial.distributions.items()
    }
    # `add_trial` would refuse a baseline outside of the space.
    storage.create_new_trial(made._study_id, template_trial=told)
  return made


def _capital(text: str) -> str:
  return f'{text[:1].upper()}{text[1:]}.'


def _best_values(opened: OpenStudy, best: Sequence[FrozenTrial]) -> list[tuple[str, float]]:
  if not best:
    return []
  return list(zip(opened.plan.objectives, best[0].values, strict=True))


def _charts(
  opened: OpenStudy, trials: Sequence[FrozenTrial], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Name -> figure."""
  done, names = completed(trials), opened.plan.objectives
  if not done:
    return {}
  scale, unit = _scale_of(names[0])
  values = [scale * trial.values[0] for trial in done]
  last = show.last_stage(done)  # earlier ones are not comparable
  past = [
    (row, trial)
    for row, trial in zip(rows, trials, strict=True)
    if trial.state.is_finished() and trial.user_attrs.get(STAGE, 0) == last
  ]
  found = {
    'history': study_charts.history(
      [trial.number for _, trial in past],
      [row['state'] for row, _ in past],
      [scale * trial.values[0] if row['state'] == 'complete' else None for row, trial in past],
      f'{names[0]} of each trial{" of the last stage" if last else ""}',
      unit,
      opened.study.directions[0] is StudyDirection.MAXIMIZE,
    )
  }
  if opened.plan.kind == 'evolve':
    stages = parse_stages(opened.plan.settings['stages'])
    found['family_tree'] = family_tree(individuals(trials), stages)
  best = show.best_trials(opened, trials)
  if len(names) > 1:
    scales = [_scale_of(name) for name in names[:2]]
    pairs = [[s * v for (s, _), v in zip(scales, trial.values, strict=False)] for trial in done]
    labels = [_label(name) for name in names[:2]]
    chosen = {trial.number for trial in best}
    found['front'] = study_charts.front(pairs, labels, [x.number in chosen for x in done])
  options = _axes(done)
  if options and len(done) > 1:
    if shares := importances(opened):
      found['importance'] = study_charts.importance(shares)
    found['slices'] = study_charts.slices(options, values, unit)
    place = done.index(best[0])
    found['parallel'] = study_charts.parallel(options, values, _label(names[0]), place)
  return found


def _scale_of(objective: str) -> tuple[float, str]:
  """By what the values of an objective are multiplied in a chart, and their unit there."""
  return (100.0, '%') if groups.is_share(objective) else (1.0, objective)


def _label(objective: str) -> str:
  """An objective with its unit, if it has another one than its name."""
  _, unit = _scale_of(objective)
  return objective if unit == objective else f'{objective} ({unit})'


def _axes(trials: Sequence[FrozenTrial]) -> list[study_charts.Axis]:
  """One axis for each option that some trials have."""
  found = []
  for name in dict.fromkeys(name for trial in trials for name in trial.params):
    kind = next(trial.distributions[name] for trial in trials if name in trial.distributions)
    values = [trial.params.get(name) for trial in trials]
    if isinstance(kind, CategoricalDistribution):
      texts = [str(trial.params[name]) if name in trial.params else None for trial in trials]
      words = list(dict.fromkeys(str(choice) for choice in kind.choices))
      words += sorted({text for text in texts if text is not None} - set(words))
      found.append(study_charts.Axis(name, texts, choices=tuple(words)))
    else:
      assert isinstance(kind, FloatDistribution | IntDistribution)
      found.append(study_charts.Axis(name, values, log=kind.log))
  return found


def _cell(name: str, value: Any) -> str:
  if value is None or value == '':
    return ''
  if name in objectives.DIRECTIONS and name != 'seconds':
    return objectives.shown(name, value)
  if name == 'seconds':
    return duration(value)
  return f'{value:.4g}' if isinstance(value, float) else str(value)
