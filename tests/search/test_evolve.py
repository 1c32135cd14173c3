"""What the flags of evolve come to, what they refuse, and the whole of it once."""

import argparse
import os
import pathlib
import subprocess
import sys

import pytest

from cifar_jax import config as configs
from cifar_jax.commands import make_parser, parsing
from cifar_jax.search import breeder, evolve, results, study, table
from cifar_jax.search.evolution import CROSSED, MUTATED, Stage
from cifar_jax.search.genome import of_config
from cifar_jax.search.size import Limits
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY


@pytest.fixture
def parse(tiny_data, tmp_path):
  """Words -> the arguments of the command, on the tiny data."""

  def parse(*words: str, config: str = 'quickstart') -> argparse.Namespace:
    line = ['evolve', f'--config={config}', f'--folder={tmp_path / "study"}', *words]
    data = ['--config.data.name=tiny', f'--config.data.dir={tiny_data}']
    arguments = parsing.parse(make_parser(), [*line, *data, '--config.data.validation=20'])
    arguments.space = arguments.config
    return arguments

  return parse


def made(arguments: argparse.Namespace) -> tuple[breeder.Breeder, str]:
  found, notes = evolve.make_breeder(arguments, arguments.folder)
  return found, '\n'.join(notes)


def test_flags_become_settings(parse):
  arguments = parse(
    *('--stages=0.5:6,2', '--population=8', '--tournament=3', '--crossover=0.5', '--inherit'),
    *('--max_parameters=200000', '--max_macs=0', '--first=cnn_adv,lenet5', '--sampler_seed=4'),
  )
  found, notes = made(arguments)
  settings = found.settings
  assert found.facts == breeder.DataFacts((8, 8, 3), 4, 180)
  assert found.inherits
  assert settings.stages == (Stage(0.5, 6), Stage(2, None))
  assert (settings.population, settings.tournament, settings.crossover) == (8, 3, 0.5)
  assert (settings.seed, settings.limits, settings.at_random) == (4, Limits(200_000, 0), False)
  # The three pools of cnn_adv leave one pixel of 8x8, the 5x5 windows of LeNet none.
  adv = of_config(configs.load('cnn_adv'))
  assert settings.first == (of_config(found.base), adv)
  assert 'first       without lenet5, for which the images are too small' in notes
  assert 'stages      6 for 0.5, then all others for 2 epochs' in notes
  assert 'weights are inherited' in notes
  assert arguments.settings['stages'] == '0.5:6,2'


def test_stages_stay_those_of_the_study(parse, tmp_path):
  """The budget may grow, and with it what the default would be."""
  arguments = parse('--trials=20')
  made(arguments)
  assert arguments.settings['stages'] == '0.5:10,1.5:6,5'
  plan = study.Plan('evolve', 'quickstart', settings=arguments.settings)
  study.open_study(tmp_path / 'study', plan)
  later = parse('--trials=60')
  found, _ = made(later)
  assert later.settings['stages'] == '0.5:10,1.5:6,5'
  assert found.settings.stages == (Stage(0.5, 10), Stage(1.5, 6), Stage(5, None))


def test_networks_above_the_limits_are_no_first_ones(parse):
  found, notes = made(parse('--first=cnn_adv', '--max_parameters=50000'))
  assert len(found.settings.first) == 1
  assert 'first       without cnn_adv, which is above the limits: ' in notes


def test_a_network_of_another_kind_gives_everything_but_itself(parse):
  found, notes = made(parse('--first=cnn_adv', config='resnet20'))
  assert "first       without resnet20: a network of the kind 'resnet' is no conv_net" in notes
  assert len(found.settings.first) == 1
  assert found.base.augment.flip == 'random'


@pytest.mark.parametrize(
  ('words', 'config', 'sentence'),
  [
    (['--config.data.validation=test'], 'quickstart', 'hold training images out'),
    ([], 'tutorial_6layer', r'--config\.optimizer\.groups names parts of one network'),
    (['--first=alexnet'], 'quickstart', '--first: alexnet: a block of'),
    (['--first=nosuch'], 'quickstart', '--first: nosuch: .*there is no such file'),
    (['--stages=2,3'], 'quickstart', '--stages=2,3: write EPOCHS:TRIALS'),
    (['--max_macs=-1'], 'quickstart', '--max_macs=-1'),
    (['--tournament=17'], 'quickstart', '--tournament=17 must be from 1 to --population=16'),
    (
      [
        *('--config.schedule.name=warmup_cosine', '--config.schedule.warmup_epochs=2'),
        '--stages=1',
      ],
      'quickstart',
      'warmup_epochs',
    ),
  ],
)
def test_mistakes_are_sentences(parse, words, config, sentence):
  arguments = parse(*words, config=config)
  # Those of the fixture come later on the line, and would win.
  arguments.overrides += [word for word in words if word.startswith('--config.')]
  with pytest.raises(UserError, match=sentence):
    made(arguments)


def test_it_selects_by_accuracy_alone(parse):
  with pytest.raises(UserError, match='--objectives=val_loss: an evolution selects by'):
    evolve.run(parse('--objectives=val_loss'))


@pytest.mark.thorough
def test_a_tiny_evolution_from_its_command_to_its_page(tiny_data, tmp_path):
  """Children inherit weights, the second call goes on, and the best trains at full length."""
  folder = tmp_path / 'study'
  line = [
    *(sys.executable, '-m', 'cifar_jax', 'evolve', '--config=quickstart', f'--folder={folder}'),
    *('--stages=0.5:4,1', '--population=3', '--tournament=2', '--first=cnn_simple', '--inherit'),
    *('--max_parameters=30000', '--config.data.name=tiny', f'--config.data.dir={tiny_data}'),
    *('--config.data.validation=20', '--config.tensorboard=False'),
  ]
  environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
  for trials in (3, 8):
    done = subprocess.run(
      [*line, f'--trials={trials}'], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
  assert f'{trials} trials, best val_accuracy' in done.stdout
  rows = table.read_table(folder)
  assert [row['state'] for row in rows] == ['complete'] * 8
  assert {row['param.origin'] for row in rows} >= {'first', 'promoted'}
  assert all(row['param.parameters'] <= 30_000 for row in rows)
  opened = study.reopen(folder)
  for x in breeder.individuals(opened.trials()):
    config = configs.read(opened.run_of(x.number, 0))
    inherits = x.origin in (MUTATED, CROSSED)  # not who is trained anew, or varies a first one
    assert config.init_from == (str(opened.run_of(x.parents[0], 0)) if inherits else '')
    assert not config.evaluate.test
  best = configs.load(str(folder / results.BEST_NAME))
  assert (best.epochs, best.max_steps, best.init_from) == (5, 0, '')
  page = pathlib.Path(folder / 'index.html').read_text()
  assert 'validation accuracy (%)' in page
  assert 'best of 2' in done.stdout
