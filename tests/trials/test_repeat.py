"""Many seeds of one config: which, in which folders, what is told of them, and what ends one."""

import json
import math
import os
import pathlib
import signal

import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from cifar_jax import commands, data
from cifar_jax import config as configs
from cifar_jax.commands.repeat import read_seeds
from cifar_jax.report import leaderboard
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop, reuse
from cifar_jax.trials import groups, repeat
from cifar_jax.utils.errors import UserError
from tests.helpers.fake_training import FakeTraining
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of
from tests.helpers.tiny import LINEAR

ACCURACIES = (0.71, 0.73, 0.72, 0.74)


@pytest.fixture
def linear(tiny_config):
  return changed(tiny_config, **LINEAR, epochs=1)


def fake(**acts) -> FakeTraining:
  """A training; `seed_1=act` does something in the middle of the run of that seed."""
  return FakeTraining(
    lambda config: ACCURACIES[config.seed] - 0.01,
    lambda config: acts.get(f'seed_{config.seed}', lambda: None)(),
  )


def raising(error: BaseException):
  def act() -> None:
    raise error

  return act


def test_each_seed_leaves_what_launch_leaves(linear, tmp_path) -> None:
  """To the last bit: the second one, which has the programs of the first."""
  together, alone = tmp_path / 'together', tmp_path / 'alone'
  runs = repeat.plan(linear, together, [0, 1])
  assert not repeat.train_each(runs, SILENT)
  config, run = changed(linear, seed=1), together / 'seed_1'
  expected = loop.train(config, alone, SILENT)
  assert_identical(state_of(config, run), state_of(config, alone))
  assert rows_of(run) == rows_of(alone)
  names = [{path.name for path in folder.iterdir()} for folder in (run, alone)]
  assert names[0] == names[1]
  assert runs[1].summary.keys() == expected.keys()
  for name in ('val_accuracy', 'test_loss', 'seed', 'best_epoch'):
    assert runs[1].summary[name] == expected[name]
  rows = [leaderboard.describe(run) for run in leaderboard.find_runs([together])]
  (group,) = groups.grouped(leaderboard.told_apart(rows))
  assert group.seeds == (0, 1)


def test_the_second_seed_has_the_programs_of_the_first(linear, tmp_path, monkeypatch) -> None:
  built = []
  monkeypatch.setattr(reuse.SameButSeed, '__call__', lambda self, *_: built.append(self))
  trains = fake()

  def train(config, run, progress, *, build, **options):
    build(config, None)
    return trains(config, run, progress, **options)

  repeat.train_each(repeat.plan(linear, tmp_path, [0, 1]), SILENT, train)
  assert len(built) == 2
  assert built[0] is built[1]


def test_the_table(linear, tmp_path, capsys) -> None:
  """Mean, deviation and the interval of Student's t with three degrees of freedom, 3.182446."""
  runs = repeat.plan(linear, tmp_path, [0, 1, 2, 3])
  trains = fake()
  repeat.train_each(runs, Progress('lines'), trains)
  assert trains.to_come == [3, 2, 1, 0]
  lines = capsys.readouterr().out.splitlines()
  *_, mean, deviation, low, high, last = lines
  sd = float(np.std(ACCURACIES, ddof=1))
  half = 3.182446 * sd / math.sqrt(4)
  assert mean.split()[:3] == ['mean', '72.50', '%']
  assert deviation.split()[1] == f'{100 * sd:.2f}'
  assert low.split()[:4] == ['95', '%', 'from', f'{100 * (0.725 - half):.2f}']
  assert high.split()[3] == f'{100 * (0.725 + half):.2f}'
  assert last == '4 of 4 seeds finished; 4 min 00 s in all [synthetic]'
  assert sum(line.startswith('seed  ') for line in lines) == 4  # one table after each run
  assert any(line.split() == ['3', 'waiting'] for line in lines)


def test_the_table_of_folds(linear, tmp_path, capsys) -> None:
  """Mean and deviation over them, no interval; each holds out other images of one division."""
  runs = repeat.plan_folds(linear, tmp_path, [0], 4)
  trains = FakeTraining(lambda config: ACCURACIES[config.data.fold] - 0.01)
  repeat.train_each(runs, Progress('lines'), trains)
  assert trains.trained == [f'fold_{fold}/seed_0' for fold in range(4)]
  *_, three, mean, deviation, counted, last = capsys.readouterr().out.splitlines()
  assert three.split()[:3] == ['3', '74.00', '%']
  assert mean.split()[:3] == ['mean', '72.50', '%']
  assert deviation.split()[1] == f'{100 * float(np.std(ACCURACIES, ddof=1)):.2f}'
  assert counted == '4 of 4 folds finished; 4 min 00 s in all [synthetic]'
  assert 'share most of their training images' in last
  held = [data.load_splits(run.config).validation for run in runs]
  assert sum(map(len, held)) == len(data.load(linear.data).train)
  again = repeat.plan_folds(linear, tmp_path, [0, 1], 4)
  assert [run.state for run in again] == ['finished', 'waiting'] * 4
  assert '3, seed 1' in repeat.table(again)


def test_folds_of_the_command_leave_the_test_set_unopened(tmp_path, monkeypatch, capsys) -> None:
  trained = []

  def train(config, run, progress, **_):
    import sys

    trained.append((config.data.fold, config.data.folds, config.evaluate.test, run, sys.argv[1:]))
    return {'val_accuracy': 0.5, 'val_loss': 1.0, 'seconds': 1.0, 'split_note': ''}

  monkeypatch.setattr(loop, 'train', train)
  monkeypatch.chdir(tmp_path)
  words = ['repeat', '--config=mlp', '--folds=2', '--together=no']
  commands.main(words)
  place = pathlib.Path('runs/mlp_folds')
  assert [found[:4] for found in trained] == [
    (fold, 2, False, place / f'fold_{fold}' / 'seed_0') for fold in range(2)
  ]
  assert trained[1][4] == [
    *('--config=mlp', '--config.evaluate.test=False', '--config.data.folds=2'),
    *('--config.data.fold=1', '--config.seed=0', f'--workdir={place}/fold_1/seed_0'),
  ]
  commands.main([*words, '--config.evaluate.test=True'])
  assert trained[2][2]
  for more, words_of_error in (
    (['--folds=1'], '--folds=1: give a number of folds from 2'),
    (['--config.data.fold=1'], '--config.data.fold=1: --folds=2 trains a run for each fold'),
    (['--vary=data.folds=2,3'], '--folds=2 trains a run for each fold'),
  ):
    with pytest.raises(SystemExit):
      commands.main([*words, *more])
    assert words_of_error in capsys.readouterr().err


def test_one_seed_has_no_spread(linear, tmp_path) -> None:
  runs = repeat.plan(linear, tmp_path, [0])
  repeat.train_each(runs, SILENT, fake())
  assert 'mean' not in repeat.table(runs)
  assert repeat.table(runs).endswith('1 of 1 seeds finished; 1 min 00 s in all [synthetic]')


@pytest.mark.parametrize(
  ('error', 'words'),
  [
    (UserError('the loss became NaN in step 3'), 'seed 1 failed: the loss became NaN in step 3'),
    (MemoryError(), 'seed 1 failed: there is not enough memory'),
    (JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory'), 'there is not enough memory (RESOURCE'),
    (JaxRuntimeError('INTERNAL: a wire'), 'seed 1 failed: INTERNAL: a wire'),
  ],
  ids=str,
)
def test_a_seed_that_fails_is_told_of_and_gone_on_from(
  linear, tmp_path, capsys, error, words
) -> None:
  runs = repeat.plan(linear, tmp_path, [0, 1, 2])
  trains = fake(seed_1=raising(error))
  assert not repeat.train_each(runs, Progress('lines'), trains)
  out = capsys.readouterr().out
  assert words in out
  assert [name[-6:] for name in trains.trained] == ['seed_0', 'seed_1', 'seed_2']
  assert [run.state for run in runs] == ['finished', 'failed', 'finished']
  assert out.splitlines()[-1].startswith('2 of 3 seeds finished, 1 failed; 2 min')
  assert '71.50 %' in out  # the mean of the other two


def test_what_lets_nothing_begin_ends_all(linear, tmp_path) -> None:
  """As data that are not there: every seed would say the same."""
  config = changed(linear, **{'data.dir': str(tmp_path / 'nowhere.npz')})
  runs = repeat.plan(config, tmp_path / 'runs', [0, 1])
  with pytest.raises(UserError, match=r'nowhere\.npz does not exist'):
    repeat.train_each(runs, SILENT)
  assert not (tmp_path / 'runs').exists()


def test_a_mistake_of_the_program_is_no_failure_of_a_seed(linear, tmp_path) -> None:
  with pytest.raises(ZeroDivisionError):
    repeat.train_each(
      repeat.plan(linear, tmp_path, [0, 1]), SILENT, fake(seed_0=raising(ZeroDivisionError()))
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(linear, tmp_path, number) -> None:
  """Also one that comes so late that its run still ends."""
  runs = repeat.plan(linear, tmp_path, [0, 1, 2])
  trains = fake(seed_1=lambda: os.kill(os.getpid(), number))
  assert repeat.train_each(runs, SILENT, trains)
  assert [run.state for run in runs] == ['finished', 'stopped', 'waiting']

  def late(config, run, progress, **options):
    summary = fake()(config, run, progress, **options)
    os.kill(os.getpid(), number)
    return summary

  runs = repeat.plan(linear, tmp_path / 'late', [0, 1, 2])
  assert repeat.train_each(runs, SILENT, late)
  assert [run.state for run in runs] == ['finished', 'waiting', 'waiting']


def test_what_has_finished_is_not_trained_again(tiny_run, tmp_path) -> None:
  config = configs.read(tiny_run)
  os.symlink(tiny_run, tmp_path / 'seed_0')
  runs = repeat.plan(config, tmp_path, [0, 1])
  assert [run.state for run in runs] == ['finished', 'waiting']
  assert runs[0].summary['test_accuracy'] == json.loads(
    (tiny_run / 'summary.json').read_text()
  ).get('test_accuracy')
  trains = fake()
  repeat.train_each(runs, SILENT, trains)
  assert [name[-6:] for name in trains.trained] == ['seed_1']
  other = changed(config, batch_size=46)
  with pytest.raises(UserError, match='seed_0 holds a run with another config: batch_size was 45'):
    repeat.plan(other, tmp_path, [0, 1])


@pytest.mark.parametrize(
  ('text', 'first', 'expected'),
  [('3', 0, [0, 1, 2]), ('2', 7, [7, 8]), ('0,3,7', 0, [0, 3, 7]), ('4,', 0, [4])],
)
def test_which_seeds(text, first, expected) -> None:
  assert read_seeds(text, first) == expected


@pytest.mark.parametrize(
  ('text', 'first', 'words'),
  [
    ('0', 0, 'give a number of seeds'),
    ('-1', 0, 'give a number of seeds'),
    ('a', 0, 'give a number of seeds'),
    ('1,,2', 0, 'give a number of seeds'),
    ('99999999', 0, 'give a number of seeds'),
    ('1,1', 0, 'names a seed twice'),
    ('1,2', 3, '--first_seed=3 is for a number'),
    ('1,-2', 0, 'seeds are numbers from 0'),
    ('2', 2**32 - 1, 'seeds are numbers from 0'),
  ],
)
def test_which_are_none(text, first, words) -> None:
  with pytest.raises(UserError, match=words):
    read_seeds(text, first)


def test_the_command(tiny_data, tmp_path, monkeypatch, capsys) -> None:
  """Where the runs are, which command the summary of each names, and the exit status."""
  named = []

  def train(config, run, progress, *, stop, **_):
    import sys

    named.append(list(sys.argv))
    if config.seed == 6:
      run.mkdir(parents=True)
      configs.save(config, run)
      raise UserError('the loss became NaN')
    return {'val_accuracy': 0.5, 'val_loss': 1.0, 'seconds': 1.0, 'split_note': ''}

  monkeypatch.setattr(loop, 'train', train)
  monkeypatch.chdir(tmp_path)
  words = ['repeat', '--config=mlp', '--seeds=2', '--first_seed=5', '--config.epochs=1']
  words.append('--together=no')
  with pytest.raises(SystemExit) as end:
    commands.main(words)
  assert end.value.code == 1
  out = capsys.readouterr().out
  assert 'look at     python -m cifar_jax compare runs/mlp_seeds --each' in out
  flags = ['launch.py', '--config=mlp', '--config.epochs=1']
  places = [pathlib.Path('runs/mlp_seeds') / f'seed_{seed}' for seed in (5, 6)]
  assert named == [
    [*flags, f'--config.seed={seed}', f'--workdir={place}']
    for seed, place in zip((5, 6), places, strict=True)
  ]
  with pytest.raises(SystemExit) as end:
    commands.main([*words, '--config.seed=3'])
  assert end.value.code == 2
  assert '--config.seed=3: --seeds and --first_seed say which' in capsys.readouterr().err


def test_a_repeat_is_not_put_into_a_run(tmp_path, capsys) -> None:
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(SystemExit) as end:
    commands.main(['repeat', '--config=quickstart', f'--workdir={tmp_path}'])
  assert end.value.code == 2
  assert 'is the folder of a run' in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']
