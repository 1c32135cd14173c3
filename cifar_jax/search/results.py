"""What a study has found: its best config, and the one that it began with."""

import pathlib
import shlex

from ml_collections import ConfigDict
from optuna.trial import FrozenTrial

from cifar_jax import config as configs
from cifar_jax.search import show, study
from cifar_jax.search.attributes import BASELINE, CONFIG, IN_FULL
from cifar_jax.search.rows import options_of
from cifar_jax.search.study import OpenStudy
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, replacing

BEST_NAME = 'best.py'


def best_config(folder: pathlib.Path, storage: str = '') -> ConfigDict:
  """The config of a study's best trial by validation, with its first seed.

  Of several objectives the first one chooses among the trials that none beats in all.

  Args:
    folder: The study's folder.
    storage: As `study.reopen` takes it.

  Raises:
    UserError: there is no study, or no trial of it was trained to its end.
  """
  opened = study.reopen(folder, storage)
  best = show.best_trials(opened, opened.trials())
  if not best:
    raise UserError(f'{folder} has no best config: no trial was trained to its end')
  return _config_of(best[0])


def baseline_config(folder: pathlib.Path, storage: str = '') -> ConfigDict | None:
  """The config of a study's baseline, which the space file gives; None if it gives none, or that
  trial has not begun.

  Raises:
    UserError: there is no study.
  """
  opened = study.reopen(folder, storage)
  for trial in opened.trials():
    if trial.user_attrs.get(BASELINE) and CONFIG in trial.user_attrs:
      return _config_of(trial)
  return None


def next_seed(folder: pathlib.Path, storage: str = '') -> int:
  """The first seed above those of all trials of a study.

  Raises:
    UserError: there is no study.
  """
  opened = study.reopen(folder, storage)
  made = [trial.user_attrs[CONFIG] for trial in opened.trials() if CONFIG in trial.user_attrs]
  return max((config['seed'] + opened.plan.seeds for config in made), default=0)


def write_best(opened: OpenStudy) -> pathlib.Path | None:
  """Writes the best config as a config file, whole or not at all; None if there is none yet."""
  trials = opened.trials()
  best = show.best_trials(opened, trials)
  if not best:
    return None
  path, plan = opened.folder / BEST_NAME, opened.plan
  found = ' '.join(f'{name}={value}' for name, value in options_of(best[0]).items())
  runs = f'mean of {plan.seeds} seeds' if plan.seeds > 1 else 'one run'
  docstring = (
    f'Trial {best[0].number}, the best of {len(study.ended(trials))} of the study '
    f'{opened.folder.name}: {show.values_of(opened, best[0])} ({runs}).\n\n'
    f'  {launch_line(path)}\n\n'
    f'{plan.kind} of {configs.name_of(plan.space)} by validation: {found or "no options"}.\n'
    'As the best of many it is likely to have been lucky, too: its accuracy on the test set, which '
    'its run\nleaves unopened, is told by python -m cifar_jax final.'
  )
  text = configs.to_source(_config_of(best[0]), docstring)
  with disk_errors(opened.folder), replacing(path, shared=True) as draft:
    draft.write_text(text, 'utf-8')
  return path


def launch_line(best: pathlib.Path) -> str:
  """What trains the best config, within the study, so that looks at its test set are noted."""
  config, workdir = (shlex.quote(str(path)) for path in (best, best.with_suffix('')))
  return f'python launch.py --config={config} --workdir={workdir}'


def _config_of(trial: FrozenTrial) -> ConfigDict:
  """What a trial is trained with outside of the study."""
  config = study.trial_config(trial)
  assert config is not None, trial.number
  config = ConfigDict(config).unlock()
  config.update_from_flattened_dict(trial.user_attrs.get(IN_FULL, {}))
  return config.lock()
