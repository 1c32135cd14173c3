"""A study from one start to the next: what may change, and what its first trial is."""

import dataclasses
import json
import re

import optuna
import pytest

from cifar_jax import config as configs
from cifar_jax.search import run, study
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study


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
  for look in (study.read_plan, study.reopen):
    with pytest.raises(UserError, match='is not the folder of a study'):
      look(tmp_path)
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
  study.check_overrides(('--config.epochs=3', '--noconfig.evaluate.test'))
  study.check_overrides(('--config.evaluate.test=True', '--config.evaluate.test=False'))
  config = configs.get_config()
  assert not study.closed_to_test(config).evaluate.test
  config.data.validation = 'test'
  with pytest.raises(UserError, match=r'--config\.data\.validation=5000'):
    study.closed_to_test(config)
