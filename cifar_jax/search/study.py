"""A study: what stays the same from its first start to its last, and where its trials are."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import optuna
from ml_collections import ConfigDict
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from cifar_jax import config as configs
from cifar_jax.search import asking, samplers
from cifar_jax.search import objectives as known_objectives
from cifar_jax.search.attributes import BASELINE, CONFIG, PLAN
from cifar_jax.search.storage import Store, open_store, patiently, without_password
from cifar_jax.search.study_plan import Plan, changes_since, check_fixed, read_plan, write_plan
from cifar_jax.trials.test_looks import STUDY_NAME
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import make_folder

TRIALS = 'trials'


class Proposer(Protocol):
  """What makes the config of a trial."""

  def propose(self, trial: optuna.Trial, study: optuna.Study) -> ConfigDict:
    """The config of a trial, with what the command line overrides.

    It is called again for the same trial if its process ended before the config was stored, and
    then gets what was suggested before.

    Raises:
      optuna.TrialPruned: the trial is not worth training; its message is the reason.
      UserError: the trial has failed.
    """


@dataclasses.dataclass(frozen=True, eq=False)
class OpenStudy:
  """A study whose storage is open.

  Attributes:
    changes: What is other than when it was opened before, in sentences.
  """

  folder: pathlib.Path
  plan: Plan
  store: Store
  study: optuna.Study
  changes: tuple[str, ...] = ()

  def trials(self) -> list[FrozenTrial]:
    """All trials, by number; not to be changed."""
    return patiently(self.store, lambda: self.study.get_trials(deepcopy=False))

  def ask_for(self, trial: FrozenTrial) -> optuna.Trial:
    """What suggests for, and reports of, a trial that runs."""
    return optuna.Trial(self.study, trial._trial_id)

  def run_of(self, number: int, seed: int) -> pathlib.Path:
    """The run folder of a trial with a seed."""
    return run_of(self.folder, number, seed)


def run_of(folder: pathlib.Path, number: int, seed: int) -> pathlib.Path:
  """The run folder of a trial with a seed, in the folder of a study."""
  return folder / TRIALS / f'{number:05d}' / f'seed_{seed}'


def open_study(
  folder: pathlib.Path, plan: Plan, baseline: Mapping[str, Any] | None = None
) -> OpenStudy:
  """Begins a study, or goes on with it.

  Args:
    folder: The study's folder; made if missing.
    plan: What is wanted now.
    baseline: What the first trial suggests.

  Raises:
    UserError: the study in the folder, or of its name in the storage, is another one; the storage
      cannot be opened.
  """
  _keep_optuna_quiet()
  samplers.check(plan.sampler, plan.pruner, plan.objectives)
  path = folder / STUDY_NAME
  changes: tuple[str, ...] = ()
  if os.path.lexists(path):
    before = read_plan(folder)
    check_fixed(folder, before.fixed(), plan)
    if before.storage != without_password(plan.storage):
      raise UserError(
        f'the trials of {folder} are in --storage={before.storage}, not in '
        f'--storage={without_password(plan.storage)}; give that, or another --folder'
      )
    changes = changes_since(before, plan)
    plan = dataclasses.replace(plan, created=before.created, name=before.name)
  else:
    plan = dataclasses.replace(plan, name=folder.resolve().name)
  make_folder(folder, 'study folder')
  opened = _open(folder, plan)
  with opened.store.exclusive():
    study = opened.study
    stored = patiently(opened.store, lambda: study.user_attrs)
    if PLAN in stored:
      check_fixed(folder, stored[PLAN], plan)
    else:
      patiently(opened.store, lambda: study.set_user_attr(PLAN, plan.fixed()))
    if not opened.trials():
      if any((folder / TRIALS).glob('*')):
        raise UserError(
          f'{opened.store.where} knows no trial of {folder}, which has some in {TRIALS}/; bring it '
          'back from a copy, or choose another --folder'
        )
      if baseline:
        attributes = {BASELINE: True}
        patiently(opened.store, lambda: study.enqueue_trial(dict(baseline), attributes))
    write_plan(folder, plan)
  return dataclasses.replace(opened, changes=changes)


def reopen(folder: pathlib.Path, storage: str = '') -> OpenStudy:
  """Opens a study to look at it; makes nothing.

  Args:
    folder: The study's folder, which may have been moved or renamed.
    storage: As on the command line, where study.json does not say it whole.

  Raises:
    UserError: there is none, its storage cannot be opened, or knows nothing of it.
  """
  _keep_optuna_quiet()
  plan = read_plan(folder)
  if storage:
    plan = dataclasses.replace(plan, storage=storage)
  if '***' in plan.storage:
    raise UserError(f'{folder} is stored in {plan.storage}; give --storage with the password')
  return _load(folder, plan)


def join(folder: pathlib.Path, plan: Plan) -> OpenStudy:
  """Opens a study for one of the workers of a command that has opened it; writes nothing."""
  _keep_optuna_quiet()
  return _load(folder, dataclasses.replace(plan, name=read_plan(folder).name))


def note_space(folder: pathlib.Path, digest: str) -> tuple[str, ...]:
  """Notes what the space file is now; what is other than before, in sentences."""
  before = read_plan(folder)
  plan = dataclasses.replace(before, space_digest=digest)
  if changes := changes_since(before, plan):
    write_plan(folder, plan)
  return changes


def trial_config(trial: FrozenTrial) -> ConfigDict | None:
  """The config that was proposed for a trial, with its first seed; None if there is none yet."""
  content = trial.user_attrs.get(CONFIG)
  return None if content is None else configs.of_json(content, f'trial {trial.number}')


def seeds_of(config: ConfigDict, count: int) -> range:
  """The seeds of a trial's runs."""
  return range(config.seed, config.seed + count)


def closed_to_test(config: ConfigDict) -> ConfigDict:
  """A config for a trial: it leaves the test set unopened.

  Raises:
    UserError: it validates on the test set.
  """
  if config.data.validation == 'test' and not config.data.folds:
    raise UserError(
      "a study chooses by validation, for which data.validation='test' would use the test set; "
      'hold training images out: --config.data.validation=5000'
    )
  config = ConfigDict(config)
  config.evaluate.test = False
  return config.lock()


def check_overrides(overrides: Sequence[str]) -> None:
  """Raises UserError where overrides ask for the test set, which trials leave unopened."""
  asked = [word for word in overrides if word.partition('=')[0].endswith('config.evaluate.test')]
  config = configs.get_config()
  config.evaluate.test = False
  if configs.override(config, asked).evaluate.test:
    raise UserError(
      f'{asked[-1]}: trials of a study never open the test set; leave that out, since '
      'python -m cifar_jax final STUDY opens it'
    )


def check_proposals(
  proposer: Proposer, plan: Plan, baseline: Mapping[str, Any] | None = None
) -> dict[str, BaseDistribution]:
  """Tries, without a storage, what a proposer makes of the baseline, or of random suggestions.

  Returns:
    What it suggested from, by name.

  Raises:
    UserError: a mistake in the space, or in the config that it makes.
  """
  _keep_optuna_quiet()
  directions = known_objectives.directions(plan.objectives)
  study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), directions=directions)
  if baseline:
    study.enqueue_trial(dict(baseline))
  trial = study.ask()
  with contextlib.suppress(optuna.TrialPruned):
    proposed = asking.ask(lambda: proposer.propose(trial, study), plan.space)
    configs.validate(closed_to_test(proposed))
  if unknown := sorted(set(baseline or {}) - set(trial.params)):
    raise UserError(
      f'{plan.space}: BASELINE has {unknown[0]!r}, which the space does not suggest; it suggests '
      f'{", ".join(trial.params)}'
    )
  if baseline and (missing := sorted(set(trial.params) - set(baseline))):
    raise UserError(f'{plan.space}: BASELINE lacks {missing[0]!r}, which the space suggests')
  return trial.distributions


def check_same_words(opened: OpenStudy, suggested: Mapping[str, BaseDistribution]) -> None:
  """Raises UserError where a space suggests from other words than the study's trials so far, or
  from other ranges where these are to be tried wholly.
  """
  for trial in opened.trials():
    for name in suggested.keys() & trial.distributions.keys():
      if opened.plan.sampler == 'grid' and trial.distributions[name] != suggested[name]:
        raise UserError(
          f'{opened.plan.space} suggests {name!r} from {suggested[name]}, and trial {trial.number} '
          f'of {opened.folder} from {trial.distributions[name]}: --sampler=grid cannot go on with '
          'other ranges; choose another sampler, or another --folder'
        )
      try:
        check_distribution_compatibility(trial.distributions[name], suggested[name])
      except ValueError:
        raise UserError(
          f'{opened.plan.space} suggests {name!r} from {suggested[name]}, and trial {trial.number} '
          f'of {opened.folder} from {trial.distributions[name]}: numbers of a range may change '
          'within a study, words and kinds cannot; choose another name for it, or another --folder'
        ) from None


def ended(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
  """Those trials that need no more work."""
  return [trial for trial in trials if trial.state.is_finished()]


def completed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
  """Those that were trained to their end."""
  return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def _open(folder: pathlib.Path, plan: Plan) -> OpenStudy:
  store = open_store(plan.storage, folder)
  directions = known_objectives.directions(plan.objectives)
  with store.exclusive():
    study = patiently(
      store,
      lambda: optuna.create_study(
        storage=store.storage,
        study_name=plan.name,
        directions=directions,
        **_sampler_and_pruner(plan),
        load_if_exists=True,
      ),
    )
  return OpenStudy(folder, plan, store, study)


def _load(folder: pathlib.Path, plan: Plan) -> OpenStudy:
  store = open_store(plan.storage, folder, must_exist=True)
  try:
    study = patiently(
      store,
      lambda: optuna.load_study(
        storage=store.storage, study_name=plan.name, **_sampler_and_pruner(plan)
      ),
    )
  except KeyError:
    raise UserError(
      f'{store.where} knows no study {plan.name!r}, which {folder} is of; give its --storage'
    ) from None
  return OpenStudy(folder, plan, store, study)


def _sampler_and_pruner(plan: Plan) -> dict[str, Any]:
  return {
    'sampler': samplers.make_sampler(plan.sampler, plan.sampler_seed, 0),
    'pruner': samplers.make_pruner(plan.pruner),
  }


def _keep_optuna_quiet() -> None:
  optuna.logging.set_verbosity(logging.ERROR)
  warnings.filterwarnings('ignore', category=optuna.exceptions.ExperimentalWarning)
