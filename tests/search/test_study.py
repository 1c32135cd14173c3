"""A study from one start to the next: what may change, and what its first trial is."""

import argparse
import dataclasses
import json
import re

import optuna
import pytest

from cifar_jax import config as configs
from cifar_jax.commands import search
from cifar_jax.search import budget, results, rows, run, samplers, show, space, study, table
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY, fake_study


class TestChanges:
  @pytest.mark.parametrize(
    ('change', 'said'),
    [
      ({'seeds': 2}, 'other --seeds: 1 before, 2 now'),
      ({'objectives': ('val_loss',)}, 'other --objectives: val_accuracy before, val_loss now'),
      (
        {'overrides': ('--config.epochs=3',)},
        r'other overrides .*: none before, --config.epochs=3 now',
      ),
      ({'kind': 'evolve'}, 'other kind: search before, evolve now'),
      ({'space': 'b.py'}, 'other space: fake before, b now'),
    ],
  )
  def test_what_makes_trials_comparable_stays(self, open_fake, change, said) -> None:
    open_fake()
    with pytest.raises(UserError, match=f'holds a study with {said}; go on with the old ones'):
      open_fake(**change)

  def test_so_it_does_for_a_folder_elsewhere(self, open_fake, tmp_path) -> None:
    """The same line on another machine, whose folder is empty, in the same storage."""
    open_fake()
    plan = dataclasses.replace(
      fake_study.PLAN, seeds=2, storage=f'journal:{tmp_path / "journal.log"}'
    )
    with pytest.raises(UserError, match='other --seeds'):
      study.open_study(tmp_path / 'elsewhere' / 'study', plan)

  def test_the_others_are_told(self, open_fake) -> None:
    assert open_fake().changes == ()
    changed = open_fake(sampler='tpe', space_digest='new').changes
    assert [re.split(r' is | was ', change)[0] for change in changed] == ['--sampler', 'fake.py']
    assert open_fake(sampler='tpe', space_digest='new').changes == ()

  def test_an_edit_meanwhile_is_told_once(self, open_fake) -> None:
    """A worker that starts later reads the space file as it is then."""
    opened = open_fake()
    path = opened.folder / study.STUDY_NAME
    content = path.read_bytes()
    joined = study.join(opened.folder, dataclasses.replace(opened.plan, space_digest='new'))
    assert joined.study.study_name == opened.study.study_name
    assert path.read_bytes() == content
    (change,) = study.note_space(opened.folder, 'new')
    assert change.startswith('fake.py is not what it was')
    assert study.note_space(opened.folder, 'new') == ()

  def test_what_a_config_is_given_tells_it_from_others(self, tmp_path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('')
    digests = {run._digest(f'{path}{argument}') for argument in ('', ':3', ':4')}
    assert len(digests) == 3

  def test_ranges_may_change_and_words_cannot(self, open_fake, work) -> None:
    opened = open_fake()
    work(opened, trials=1)
    study.check_same_words(opened, {'x': optuna.distributions.FloatDistribution(0.5, 2.0)})
    words = {'x': optuna.distributions.CategoricalDistribution(('a', 'b'))}
    with pytest.raises(UserError, match=r"suggests 'x' from Categorical.* trial 0 of .* cannot"):
      study.check_same_words(opened, words)

  def test_ranges_of_a_grid_cannot_change(self, open_fake, work) -> None:
    work(open_fake(), trials=1)
    opened = open_fake(sampler='grid')
    study.check_same_words(opened, {'x': optuna.distributions.FloatDistribution(0.0, 1.0)})
    with pytest.raises(UserError, match=r"'x' from Float.*--sampler=grid cannot go on with other"):
      study.check_same_words(opened, {'x': optuna.distributions.FloatDistribution(0.5, 2.0)})

  def test_trials_without_their_storage_are_no_new_study(self, open_fake, work, tmp_path) -> None:
    work(open_fake(), trials=1)
    (tmp_path / 'journal.log').unlink()
    with pytest.raises(UserError, match=r'journal\.log knows no trial of .*bring it back'):
      open_fake()

  def test_another_storage_is_none(self, open_fake, tmp_path) -> None:
    open_fake()
    with pytest.raises(UserError, match=r'are in --storage=journal:.*, not in --storage=journal:/'):
      open_fake(storage=f'journal:{tmp_path / "other"}')


def test_a_study_that_is_moved_is_the_same(tmp_path, work) -> None:
  before = fake_study.open_fake(tmp_path / 'study')
  work(before, trials=1)
  moved = (tmp_path / 'study').rename(tmp_path / 'moved')
  for opened in (study.reopen(moved), fake_study.open_fake(moved), study.reopen(moved)):
    assert len(opened.trials()) == 1
    assert opened.study.study_name == 'study'


def test_who_looks_at_a_study_makes_none(open_fake, tmp_path) -> None:
  folder, journal = open_fake().folder, tmp_path / 'journal.log'
  path = folder / study.STUDY_NAME
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, 'name': 'other'}))
  whole = journal.read_bytes()
  with pytest.raises(UserError, match=r"journal\.log knows no study 'other'"):
    study.reopen(folder)
  assert journal.read_bytes() == whole
  for storage in (f'journal:{tmp_path / "none"}', f'sqlite:///{tmp_path / "none"}'):
    with pytest.raises(UserError, match='none, which holds the trials of the study, is not there'):
      study.reopen(folder, storage)
  assert not (tmp_path / 'none').exists()


def test_a_damaged_study_file_is_named(tmp_path) -> None:
  with pytest.raises(UserError, match='is not the folder of a study'):
    study.read_plan(tmp_path)
  for content in ('{', '{"format": 2}', '{"format": 1}'):
    (tmp_path / study.STUDY_NAME).write_text(content)
    with pytest.raises(UserError, match=r'study\.json is damaged'):
      study.read_plan(tmp_path)


@pytest.mark.parametrize(
  'change',
  [
    *({'seeds': 'x'}, {'seeds': 0}, {'storage': 3}, {'overrides': None}, {'settings': [1]}),
    *({'sampler': 'foo'}, {'kind': None}, {'objectives': 'val_accuracy'}),
  ],
)
def test_a_study_file_with_a_wrong_value_is_damaged(open_fake, tmp_path, change) -> None:
  open_fake()
  path = tmp_path / 'study' / study.STUDY_NAME
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(UserError, match=r'study\.json is damaged'):
    study.read_plan(path.parent)


def test_the_test_set_stays_closed() -> None:
  config = configs.get_config()
  assert not study.closed_to_test(config).evaluate.test
  config.data.validation = 'test'
  with pytest.raises(UserError, match=r'--config\.data\.validation=5000'):
    study.closed_to_test(config)


class TestSpace:
  SPACE = """
from configs import cnn_simple
BASELINE = {baseline}
def get_config(trial):
  config = cnn_simple.get_config()
  config.data.validation = '5000'
  config.batch_size = trial.suggest_categorical('batch', [32, 64])
  if config.batch_size == 64:
    config.optimizer.learning_rate = trial.suggest_float('lr', 1e-4, 1e-2, log=True)
  return config
"""

  def check(self, tmp_path, text: str, overrides: tuple[str, ...] = ()) -> None:
    path = tmp_path / 'space.py'
    path.write_text(text)
    proposer = space.load_space(str(path), overrides)
    study.check_proposals(proposer, fake_study.PLAN, space.baseline_of(proposer))

  def test_it_is_tried_before_a_study_begins(self, tmp_path) -> None:
    self.check(tmp_path, self.SPACE.format(baseline="{'batch': 64, 'lr': 1e-3}"))
    self.check(tmp_path, self.SPACE.format(baseline="{'batch': 32}"))

  @pytest.mark.parametrize(
    ('baseline', 'said'),
    [
      ("{'batch': 64, 'learning': 1e-3}", "BASELINE has 'learning', which the space does not"),
      ("{'batch': 64}", "BASELINE lacks 'lr', which the space suggests"),
      ("{'batch': 65, 'lr': 1e-3}", r'space\.py, line 7: ValueError: .*65'),
      ('3', 'BASELINE is no dictionary'),
    ],
  )
  def test_a_baseline_that_is_none_is_refused(self, tmp_path, baseline, said) -> None:
    with pytest.raises(UserError, match=said):
      self.check(tmp_path, self.SPACE.format(baseline=baseline))

  def test_mistakes_name_the_line_or_the_flag(self, tmp_path) -> None:
    text = self.SPACE.format(baseline={})
    with pytest.raises(UserError, match=r'space\.py, line 6: AttributeError'):
      self.check(tmp_path, text.replace("config.data.validation = '5000'", 'config.date.x = 1'))
    with pytest.raises(UserError, match=r'unknown option --config\.epoch; did you mean'):
      self.check(tmp_path, text, ('--config.epoch=3',))
    with pytest.raises(UserError, match=r'--config\.data\.validation=5000'):
      self.check(tmp_path, text, ('--config.data.validation=test',))


@pytest.mark.parametrize('name', ['cnn_simple', 'fast83'])
def test_the_baseline_of_a_shipped_space_is_the_articles_config(name) -> None:
  proposer = space.load_space(f'configs/spaces/{name}.py')
  baseline = space.baseline_of(proposer)
  study.check_proposals(proposer, fake_study.PLAN, baseline)
  config = dict(configs.flatten(proposer.propose(optuna.trial.FixedTrial(dict(baseline)), None)))
  article = dict(configs.flatten(configs.load(f'configs/{name}.py')))
  different = {key for key in config.keys() | article.keys() if config[key] != article[key]}
  assert different <= {'epochs', 'tensorboard', 'data.validation', 'evaluate.every_epochs'}


class TestSamplers:
  def test_the_command_line_knows_them_all(self) -> None:
    parser = argparse.ArgumentParser()
    search.add_parser(parser.add_subparsers())
    (verbs,) = parser._subparsers._group_actions
    actions = {action.dest: action for action in verbs.choices['search']._actions}
    assert set(actions['sampler'].choices) == set(samplers.SAMPLERS)
    nothing = type(samplers.make_pruner('none'))
    made = {name: type(samplers.make_pruner(name)) for name in actions['pruner'].choices}
    assert [name for name, kind in made.items() if kind is nothing] == ['none']

  @pytest.mark.parametrize(
    ('sampler', 'pruner', 'objectives', 'said'),
    [
      ('tpe', 'asha', ('val_accuracy', 'seconds'), '--pruner=asha knows one objective only'),
      ('tpe', 'median', ('seconds',), 'which seconds is not'),
    ],
  )
  def test_what_cannot_be_is_refused(self, sampler, pruner, objectives, said) -> None:
    with pytest.raises(UserError, match=said):
      samplers.check(sampler, pruner, objectives)

  def test_a_missing_package_is_named(self, monkeypatch) -> None:
    monkeypatch.setattr(samplers.importlib.util, 'find_spec', lambda _: None)
    for sampler, package in (('gp', 'torch'), ('cmaes', 'cmaes')):
      with pytest.raises(UserError, match=f'needs {package} .*pip install {package}, or'):
        samplers.check(sampler, 'none', ('val_accuracy',))

  def test_a_trial_is_proposed_the_same_by_every_worker(self, open_fake) -> None:
    first, again = (
      samplers.make_sampler('random', 3, 7).sample_independent(
        open_fake().study, None, 'x', optuna.distributions.FloatDistribution(0, 1)
      )
      for _ in range(2)
    )
    assert first == again

  def test_a_grid_ends_after_its_last_combination(self, open_fake, work, monkeypatch) -> None:
    class Grid(fake_study.Space):
      def propose(self, trial, study):
        config = super().propose(optuna.trial.FixedTrial({'x': 0.1}), study)
        config.optimizer.learning_rate = trial.suggest_categorical('rate', [0.1, 0.2])
        config.batch_size = trial.suggest_int('batch', 32, 96, step=32)
        return config

    monkeypatch.setattr(fake_study, 'Space', Grid)
    opened = open_fake(sampler='grid')
    work(opened, trials=50)
    tried = {(trial.params['rate'], trial.params['batch']) for trial in opened.trials()}
    assert len(tried) == len(opened.trials()) == 6


class TestResults:
  def test_the_best_config_is_a_config_file(self, open_fake, work, tmp_path) -> None:
    opened = open_fake()
    assert results.write_best(opened) is None
    work(opened, trials=4)
    trials = opened.trials()
    best = max(trials, key=lambda trial: trial.value)
    path = results.write_best(opened)
    loaded = configs.load(str(path))
    assert configs.to_json(loaded) == configs.to_json(results.best_config(tmp_path / 'study'))
    assert loaded.optimizer.learning_rate == best.params['x']
    assert configs.to_json(loaded) == {**best.user_attrs[study.CONFIG]}
    assert f'Trial {best.number}, the best of 4' in path.read_text()
    # Within the study, so that looks at the run's test set count.
    assert (
      f'launch.py --config={path} --workdir={tmp_path / "study" / "best"}\n' in path.read_text()
    )
    assert results.baseline_config(tmp_path / 'study') is None

  def test_of_several_objectives_none_beats_the_best(self, open_fake) -> None:
    opened = open_fake(objectives=('val_accuracy', 'seconds'))
    values = [(0.5, 10), (0.6, 20), (0.55, 30), (0.7, 40), (0.7, 41), (0.5, 10)]
    for pair in values:
      opened.study.tell(opened.study.ask(), pair)
    assert [t.number for t in show.best_trials(opened, opened.trials())] == [3, 1, 0, 5]

  def test_a_baseline_is_the_first_trial(self, tmp_path) -> None:
    plan = dataclasses.replace(fake_study.PLAN, storage=f'journal:{tmp_path / "j"}')
    for _ in range(2):  # it is enqueued once
      opened = study.open_study(tmp_path / 'study', plan, {'x': 0.25})
    trial = opened.study.ask()
    config = study.closed_to_test(fake_study.Space().propose(trial, opened.study))
    trial.set_user_attr(study.CONFIG, json.loads(json.dumps(configs.to_json(config))))
    found = results.baseline_config(tmp_path / 'study')
    assert found.optimizer.learning_rate == 0.25
    assert len(opened.trials()) == 1


CONFIGS = sorted(path.stem for path in (REPOSITORY / 'configs').glob('[!_]*.py'))


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in ('fast83', 'vit_tiny') else pytest.mark.thorough)
    for name in CONFIGS
  ],
)
def test_every_config_is_written_as_a_file_and_read_again(tmp_path, name) -> None:
  path, config = tmp_path / 'again.py', configs.load(name)
  path.write_text(configs.to_source(config, 'A "quoted"\\ text.\n\nAnd more.'))
  assert configs.to_json(configs.load(str(path))) == configs.to_json(config)


class TestBudget:
  def trial(self, state, **attributes) -> optuna.trial.FrozenTrial:
    value = 0.5 if state == 'COMPLETE' else None
    kind = optuna.trial.TrialState[state]
    return optuna.create_trial(state=kind, value=value, user_attrs=attributes)

  def test_what_runs_counts_with_what_it_plans(self) -> None:
    trials = [
      self.trial('COMPLETE', epochs=10, pulse=[3, 90.0]),
      self.trial('FAIL', epochs=2, pulse=[1, 30.0]),
      self.trial('RUNNING', planned_epochs=10, pulse=[1, 15.0]),
      self.trial('WAITING'),
    ]
    assert budget.spent(trials) == (3, 22, 2.25)
    assert budget.spent(trials, ended_only=True) == (2, 12, 2.25)
    assert budget.Budget(trials=4).allows_another(budget.spent(trials))
    assert not budget.Budget(trials=3).allows_another(budget.spent(trials))
    assert not budget.Budget(trials=9, epochs=22).allows_another(budget.spent(trials))
    assert not budget.Budget(minutes=2).allows_another(budget.spent(trials))
    assert budget.Budget(trials=4, minutes=4.5).share(budget.spent(trials)) == 0.75

  def test_it_is_above_nothing(self) -> None:
    with pytest.raises(UserError, match=r'--minutes=0: give a number above 0'):
      budget.Budget(minutes=0.0)


def test_the_table_is_read_without_optuna(open_fake, work, tmp_path) -> None:
  opened = open_fake()
  work(opened, trials=2)
  rows.Table().write(opened, opened.trials())
  found = table.read_table(tmp_path / 'study')
  assert [row['number'] for row in found] == [0, 1]
  for row, trial in zip(found, opened.trials(), strict=True):
    assert row['val_accuracy'] == trial.value
    assert row['param.x'] == trial.params['x']
    assert (row['state'], row['epochs'], row['run']) == (
      'complete',
      fake_study.EPOCHS,
      f'trials/{trial.number:05d}/seed_0',
    )
    assert 'reason' not in row
  assert table.read_table(tmp_path) == []
  (tmp_path / table.NAME).write_text('number,state,reason,seconds,epochs\n1,odd,,,\n')
  with pytest.raises(UserError, match='is damaged in line 2'):
    table.read_table(tmp_path)
