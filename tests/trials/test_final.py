"""The end of a study: who is trained, once, on which data, and what is written down."""

import json
import os
import pathlib
import signal
from typing import Any

import pytest
from scipy import stats

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.trials import final as finals
from cifar_jax.trials import final_result, repeat, test_looks
from cifar_jax.utils.errors import UserError
from tests.helpers.fake_training import FakeTraining
from tests.helpers.runs import SILENT, changed

CLOSED = {'evaluate.test': False, 'data.validation': '20'}
# By seed; the article's rate is worse.
OF_BEST = {1: 0.82, 2: 0.80, 3: 0.83, 4: 0.815, 5: 0.825}
OF_BASELINE = {1: 0.79, 2: 0.78, 3: 0.805, 4: 0.78, 5: 0.80}


def accuracy(config) -> float:
  table = OF_BEST if config.optimizer.learning_rate == 0.1 else OF_BASELINE
  return table[config.seed]


@pytest.fixture
def best(tiny_config):
  return changed(tiny_config, **CLOSED, **{'optimizer.learning_rate': 0.1})


@pytest.fixture
def baseline(tiny_config):
  return changed(tiny_config, **CLOSED)


@pytest.fixture
def study(tmp_path) -> pathlib.Path:
  (tmp_path / 'study').mkdir()
  (tmp_path / 'study' / 'study.json').write_text('{"format": 1, "kind": "search", "seeds": 1}')
  return tmp_path / 'study'


@pytest.fixture
def command(study, best, baseline, monkeypatch, capsys):
  """Words -> what `final` prints, and the trainings that were asked for; with a search that has
  ended, its configs in `of_study`, and no real training.
  """
  from cifar_jax.search import results

  of_study = {'best': best, 'baseline': baseline}
  fake = FakeTraining(accuracy)
  train_each = repeat.train_each
  monkeypatch.setattr(results, 'best_config', lambda *_: of_study['best'])
  monkeypatch.setattr(results, 'baseline_config', lambda *_: of_study['baseline'])
  monkeypatch.setattr(results, 'next_seed', lambda *_: 1)
  monkeypatch.setattr(
    repeat,
    'train_each',
    lambda runs, progress, **options: train_each(
      runs, progress, fake, runs_after=options['runs_after']
    ),
  )

  class Command:
    configs, training, status = of_study, fake, 0

    def __call__(self, *words: str) -> str:
      self.status = 0
      try:
        commands.main(['final', str(study), '--progress=silent', *words])
      except SystemExit as end:
        self.status = end.code
      captured = capsys.readouterr()
      return captured.out + captured.err

  return Command()


def test_both_sides_with_seeds_that_no_trial_had(command, study) -> None:
  out = command()
  assert command.status == 0
  assert command.training.trained == [
    *(f'{side}/seed_{seed}' for side in ('best', 'baseline') for seed in (1, 2, 3, 4, 5))
  ]
  assert command.training.to_come == list(range(9, -1, -1))
  for side, seed in (('best', 1), ('baseline', 5)):
    config = configs.read(study / 'final' / side / f'seed_{seed}')
    assert (config.evaluate.test, config.seed) == (True, seed)
  content = json.loads((study / 'final.json').read_text())
  expected: Any = stats.ttest_rel(list(OF_BEST.values()), list(OF_BASELINE.values()))
  assert content['difference']['p'] == pytest.approx(expected.pvalue)
  assert content['difference']['low'] == pytest.approx(expected.confidence_interval().low)
  assert content['difference']['p_permutation'] == 2 / 2**5
  assert content['sides']['best']['test_accuracy']['mean'] == pytest.approx(0.818)
  assert content['sides']['baseline']['test_accuracy']['values']['3'] == 0.805
  assert 'best is better than baseline' in out
  assert 'the test set of this study was looked at once: by final on' in out
  (look,) = test_looks.read(study)
  assert (look.by, look.run, look.note) == ('final', 'final', 'seeds 1-5, best and baseline')


def test_the_page_of_the_study_tells_of_it(command, study, monkeypatch) -> None:
  """Before anything is trained: a final that is stopped has opened the test set too."""
  from cifar_jax.search import page

  told = []
  monkeypatch.setattr(page, 'reopen', lambda folder, storage: folder)
  monkeypatch.setattr(
    page,
    'write_page',
    lambda folder: told.append((test_looks.read(folder), command.training.trained[:])),
  )
  command('--seeds=1')
  assert told == []  # it has no page
  (study / page.PAGE_NAME).write_text('the test set of this study has not been looked at')
  command('--seeds=1', '--again')
  ((looks, trained),) = told
  assert (len(looks), len(trained)) == (2, 2)


def test_it_is_once_unless_again_which_is_written_down(command, study) -> None:
  first = command('--seeds=2')
  trained = len(command.training.trained)
  second = command('--seeds=2')
  assert 'this final has been; --again trains once more, which is written down' in second
  assert second.splitlines()[0] in first  # the same numbers
  command('--seeds=5')  # whatever is asked for
  assert len(command.training.trained) == trained == 4
  assert len(test_looks.read(study)) == 1
  third = command('--seeds=3', '--again')
  assert len(command.training.trained) == trained + 6
  assert (study / 'final_1' / 'final.json').is_file()
  assert len(json.loads((study / 'final.json').read_text())['sides']['best']['runs']) == 3
  assert [look.note for look in test_looks.read(study)] == [
    'seeds 1 2, best and baseline',
    'seeds 1-3, best and baseline; final number 2 of this study',
  ]
  assert 'was looked at 2 times' in third


def test_a_study_that_has_gone_on_is_told(command, study, best) -> None:
  command('--seeds=1', '--config.epochs=3')
  assert 'gone on' not in command()
  command.configs['best'] = changed(best, seed=3)
  assert 'gone on' not in command()
  command.configs['best'] = changed(best, batch_size=10)
  assert 'the study has gone on since: its best config is now another one' in command()


@pytest.mark.parametrize('options', [(), ('--again',)])
def test_the_same_line_goes_on(command, study, best, options) -> None:
  """After a stop and after a kill, with the configs that it began with, and as one look."""
  acts = {
    ('best', 2): lambda: os.kill(os.getpid(), signal.SIGTERM),
    ('baseline', 2): lambda: (_ for _ in ()).throw(ZeroDivisionError),  # dies as by SIGKILL
  }

  def act(config) -> None:
    side = 'best' if config.optimizer.learning_rate == 0.1 else 'baseline'
    acts.pop((side, config.seed), lambda: None)()

  command.training.acts = act
  assert 'the test set' not in command('--seeds=3', *options)
  assert not (study / 'final.json').exists()
  command.configs['best'] = changed(best, batch_size=17)  # the search went on
  with pytest.raises(ZeroDivisionError):
    command('--seeds=3', *options)
  assert 'began with other seeds, 1 2 3 and not 1 2; go on with those' in command('--seeds=2')
  out = command('--seeds=3', *options)
  assert command.training.trained == [
    *(f'best/seed_{seed}' for seed in (1, 2, 2, 3)),
    *(f'baseline/seed_{seed}' for seed in (1, 2, 2, 3)),
  ]
  assert configs.read(study / 'final' / 'best' / 'seed_3').batch_size == best.batch_size
  assert 'was looked at once' in out
  assert not (study / 'final_1').exists()


def test_a_seed_that_fails(command, study) -> None:
  def act(config) -> None:
    if config.seed == 2 and config.optimizer.learning_rate == 0.1:
      raise UserError('the loss became NaN')

  command.training.acts = act
  out = command('--seeds=3')
  assert command.status == 1
  assert '  seed 2 failed: the loss became NaN\n' in out
  content = json.loads((study / 'final.json').read_text())
  assert content['difference']['n'] == [2, 2]
  assert content['sides']['best']['test_accuracy']['missing'] == 1
  trained = len(command.training.trained)
  command.training.acts = lambda config: None  # another process had the memory
  command('--seeds=3')
  assert command.status == 0
  assert command.training.trained[trained:] == ['best/seed_2']
  content = json.loads((study / 'final.json').read_text())
  assert content['difference']['n'] == [3, 3]
  assert len(test_looks.read(study)) == 1
  assert 'this final has been' in command('--seeds=3')


def test_different_images_are_not_compared(command, study, best, baseline) -> None:
  """But image files of one folder are the same images, whatever size a side makes of them."""
  folder = {'data.name': 'folder', 'data.dir': '/a'}
  command.training.fingerprint = lambda c: f'{c.data.dir} {c.data.folder.image_size}'
  command.configs['best'] = changed(best, **folder)
  for options, compared in (
    ({'data.dir': '/b'}, False),
    ({'data.dir': '/b', 'data.folder.image_size': (9, 9)}, False),
    ({'data.folder.image_size': (9, 9)}, True),
  ):
    command.configs['baseline'] = changed(baseline, **{**folder, **options})
    out = command('--seeds=2', '--again')
    assert ('on different images' in out) is not compared
    difference = json.loads((study / 'final.json').read_text())['difference']
    assert (difference is not None) is compared
    assert 'of 2 seeds' in out


def test_against_a_run_or_a_config(command, study, tiny_config, tmp_path) -> None:
  """Both sides learn from the same images, whatever the other one validated on."""
  run = tmp_path / 'run'
  run.mkdir()
  other = {'validation': 'test', 'folds': 3, 'fold': 2, 'stratified': True}
  other |= {'keep_groups_together': True, 'keep_duplicates_together': True}
  options = {f'data.{name}': value for name, value in other.items()}
  configs.save(changed(tiny_config, **options, batch_size=45), run)
  command('--seeds=2', f'--against={run}')
  config = configs.read(study / 'final' / 'baseline' / 'seed_1')
  best = configs.read(study / 'final' / 'best' / 'seed_1')
  assert (config.batch_size, config.data.validation) == (45, '20')
  assert config.data == best.data
  assert json.loads((study / 'final.json').read_text())['against'] == str(run)
  out = command('--again', '--against=mlp')
  assert command.status == 2
  assert '--against=mlp is on cifar10, the study on tiny' in out
  assert f'--against={tmp_path} is a folder and no run' in command(
    '--again', f'--against={tmp_path}'
  )
  assert not (study / 'final_1').exists()  # the mistakes put nothing away


def test_no_baseline(command, study) -> None:
  command.configs['baseline'] = None
  out = command('--seeds=2', '--config.epochs=7')
  assert 'there is no baseline to compare it with: --against=CONFIG names one' in out
  assert {path.name for path in (study / 'final').iterdir()} == {'best', 'plan.json'}
  assert configs.read(study / 'final' / 'best' / 'seed_1').epochs == 7


def test_nothing_better_was_found(command, best) -> None:
  command.configs['baseline'] = changed(best, tags=('article',))
  out = command('--seeds=2')
  assert 'the best config is the baseline itself: the search found none better' in out
  assert command.training.trained == ['best/seed_1', 'best/seed_2']


def test_mistakes(command, study, tmp_path, capsys) -> None:
  for words, expected in (
    (['--config.seed=3'], '--config.seed=3: --seeds and --first_seed say which'),
    (['--config.data.validation=test'], "data.validation='test' would choose the best"),
    (['--seeds=0'], '--seeds=0: give a number of seeds'),
  ):
    assert expected in command(*words)
    assert command.status == 2
  assert not (study / 'final').exists()
  assert test_looks.read(study) == []
  with pytest.raises(SystemExit):
    commands.main(['final', str(tmp_path)])
  assert 'is not the folder of a study: it has no study.json' in capsys.readouterr().err
  (study / 'final.json').write_text('{"sides": 3}')
  assert 'final.json is damaged' in command()


def test_one_process_at_a_time(command, study) -> None:
  """Or the seeds that the other one trains would count as failed."""
  with finals.alone(study):
    assert f'another process works on the final of {study}' in command('--seeds=2')
  assert command.status == 2
  assert command.training.trained == []
  command('--seeds=2')
  assert len(command.training.trained) == 4


def test_a_damaged_plan(study, best) -> None:
  asked = finals.make(study, [1], best, None)
  finals.begin(asked)
  content = json.loads((study / 'final' / 'plan.json').read_text())
  (study / 'final' / 'plan.json').write_text(json.dumps({**content, 'sides': 3}))
  with pytest.raises(UserError, match=r'plan\.json is damaged'):
    finals.settle(asked, again=False)


@pytest.mark.thorough
def test_a_real_final(study, best, tmp_path) -> None:
  """A training that opens the test set, which the trial did not."""
  asked = finals.make(study, [3], changed(best, epochs=1, **{'model.widths': ()}), None)
  finals.begin(asked)
  (runs,) = finals.runs_of(asked).values()
  repeat.train_each(runs, SILENT)
  content = final_result.conclude(asked, {'best': runs})
  value = content['sides']['best']['test_accuracy']['values']['3']
  assert value == runs[0].summary['test_accuracy']
  assert content['sides']['best']['test_accuracy']['sd'] is None
  assert '% of one seed' in '\n'.join(final_result.tell(study, content))
