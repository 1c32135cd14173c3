"""`repeat` in one program, and with numbers that vary."""

import json

import pytest

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.commands.repeat import read_variations
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop, together
from cifar_jax.trials import repeat
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import SILENT, changed
from tests.helpers.tiny import LINEAR


def test_groups_are_the_combinations_of_values() -> None:
  assert read_variations([]) == {'': []}
  assert read_variations(['optimizer.learning_rate=1e-3,3e-3', 'optimizer.momentum=0.9']) == {
    'learning_rate=1e-3,momentum=0.9': [
      '--config.optimizer.learning_rate=1e-3',
      '--config.optimizer.momentum=0.9',
    ],
    'learning_rate=3e-3,momentum=0.9': [
      '--config.optimizer.learning_rate=3e-3',
      '--config.optimizer.momentum=0.9',
    ],
  }


@pytest.mark.parametrize(
  'text',
  [
    'batch_size',
    'batch_size=',
    'batch_size=1,,2',
    'batch_size=1,1',
    'optimizer.learning_rate=1e-3,0.001',
    '=1',
    'seed=1',
    'init_from=a/b',
  ],
)
def test_what_is_no_variation_is_one_sentence(text) -> None:
  with pytest.raises(UserError, match=f'--vary={text}: '):
    read_variations([text])


def test_an_option_varies_once() -> None:
  with pytest.raises(UserError, match='batch_size is given already'):
    read_variations(['batch_size=1', 'batch_size=2'])


@pytest.fixture
def runs(tiny_config, tmp_path) -> list[repeat.SeedRun]:
  """Three; the first has finished."""
  found = repeat.plan(changed(tiny_config, **LINEAR), tmp_path, [0, 1, 2])
  found[0].state, found[0].summary = repeat.FINISHED, {'seconds': 10.0, 'val_accuracy': 0.5}
  return found


def test_what_has_not_finished_is_trained_in_one_program(runs, monkeypatch) -> None:
  asked = []

  def train(configs, folders, *_, **options):
    asked.append(([config.seed for config in configs], folders, options['only_if_faster']))
    return [{'seconds': 60.0, 'val_accuracy': 0.7, 'runs_together': 2}, UserError('not finite')]

  monkeypatch.setattr(together, 'train', train)
  assert not repeat.train_together(runs, SILENT, only_if_faster=False)
  assert asked == [([1, 2], [runs[1].folder, runs[2].folder], False)]
  assert [run.state for run in runs] == [repeat.FINISHED, repeat.FINISHED, repeat.FAILED]
  assert runs[2].reason == 'not finite'
  # 10 s, and half of 60 s that two runs share.
  last = repeat.table(runs).splitlines()[-1]
  assert last == '2 of 3 seeds finished, 1 failed; 40 s in all, 2 runs at a time'


def test_a_stop_is_told(runs, monkeypatch) -> None:
  monkeypatch.setattr(together, 'train', lambda *_, **options: [{}, {}])
  assert repeat.train_together(runs, Progress('silent'))
  assert [run.state for run in runs] == [repeat.FINISHED, repeat.STOPPED, repeat.STOPPED]


def words(tiny_data, folder, *more) -> list[str]:
  return [
    *('repeat', '--config=configs/lr.py', '--seeds=2', f'--workdir={folder}', '--progress=lines'),
    *('--config.data.name=tiny', f'--config.data.dir={tiny_data}', '--config.devices=1'),
    *('--config.epochs=1', '--config.batch_size=60', '--config.tensorboard=False', *more),
  ]


@pytest.mark.thorough
def test_values_and_seeds_are_one_program(tiny_data, tmp_path, capsys) -> None:
  commands.main(words(tiny_data, tmp_path, '--vary=optimizer.learning_rate=1e-3,1e-2'))
  said = capsys.readouterr().out
  assert 'together    4 in one program' in said
  assert said.count('2 of 2 seeds finished') == 2
  for value in ('1e-3', '1e-2'):
    for seed in (0, 1):
      folder = tmp_path / f'learning_rate={value}' / f'seed_{seed}'
      config = configs.read(folder)
      assert (config.optimizer.learning_rate, config.seed) == (float(value), seed)
      command = json.loads((folder / 'summary.json').read_text())['command']
      assert command.startswith('launch.py --config=configs/lr.py')
      assert command.endswith(
        f'--config.optimizer.learning_rate={value} --config.seed={seed} --workdir={folder}'
      )
  commands.main(words(tiny_data, tmp_path, '--vary=optimizer.learning_rate=1e-3,1e-2'))
  assert 'all have finished' in capsys.readouterr().out


@pytest.mark.thorough
def test_what_cannot_be_together_is_trained_one_after_the_other(
  tiny_data, tmp_path, capsys
) -> None:
  options = ('--config.early_stopping.patience=5', '--vary=batch_size=60,90')
  commands.main(words(tiny_data, tmp_path, *options))
  said = capsys.readouterr().out
  assert 'one run after the other: these runs cannot be trained in one program' in said
  assert said.count('2 of 2 seeds finished') == 2
  with pytest.raises(SystemExit):
    commands.main(words(tiny_data, tmp_path / 'other', *options, '--together'))
  assert 'cannot be trained in one program: they differ in batch_size' in capsys.readouterr().err


def test_a_stop_ends_all_groups(tmp_path, monkeypatch, capsys) -> None:
  """What did not begin is not named as if it had."""
  trained = []

  def train(config, run, *_, **options):
    trained.append(run)
    options['stop'].asked = True
    return {}

  monkeypatch.setattr(loop, 'train', train)
  commands.main(
    [
      *('repeat', '--config=mlp', '--seeds=2', '--together=no', '--progress=lines'),
      *('--vary=batch_size=60,90', f'--workdir={tmp_path}'),
    ]
  )
  assert trained == [tmp_path / 'batch_size=60' / 'seed_0']
  said = capsys.readouterr().out
  assert 'batch_size=60\n' in said
  assert 'batch_size=90' not in said
  assert 'stopped and saved; the same command goes on from there' in said
