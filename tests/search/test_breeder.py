"""An evolution on a real study with a made-up training: what trials store, and how it ends."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import optuna
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.search import attempt, breeder, evolution, results, rows, show, study, table, worker
from cifar_jax.search.attributes import IN_FULL, INDIVIDUAL, SHOWN, STAGE
from cifar_jax.search.breeder import Breeder, DataFacts
from cifar_jax.search.budget import Budget
from cifar_jax.search.evolution import Settings, Stage
from cifar_jax.search.genome import of_config
from cifar_jax.search.size import Limits
from cifar_jax.search.storage import Store
from cifar_jax.search.study import OpenStudy, Plan
from cifar_jax.utils.errors import UserError
from configs import base, cnn_adv, cnn_simple, quickstart

CIFAR = DataFacts((32, 32, 3), 10, 45_000)
# The stages have no two networks of equal length; the last one is half of what the config trains.
STAGES = (Stage(0.5, 10), Stage(2, None))
SETTINGS = {'population': 5, 'tournament': 2, 'stages': '0.5:10,2'}


def base_config() -> ConfigDict:
  config = quickstart.get_config()
  config.epochs = 4
  return study.closed_to_test(config)


def breeder_of(folder: pathlib.Path, inherits: bool = False, **changes: Any) -> Breeder:
  settings = Settings(
    0,
    STAGES,
    first=(of_config(base_config()), of_config(cnn_simple.get_config())),
    population=5,
    tournament=2,
    limits=Limits(200_000, 20_000_000),
  )
  settings = dataclasses.replace(settings, **changes)
  return Breeder(base_config(), settings, folder, inherits, CIFAR)


def fake_train(config: ConfigDict, run: pathlib.Path, *_: Any, **options: Any) -> dict[str, Any]:
  """Deep networks are good, those with a rate above 0.1 diverge, and longer training helps."""
  if config.optimizer.learning_rate > 0.1:
    raise UserError('the loss became NaN or infinite')
  run.mkdir(parents=True)
  accuracy = 0.1 * len(config.model.widths) + 0.01 * config.epochs + 1e-4 * config.model.widths[0]
  return {'val_accuracy': accuracy, 'last_epoch': config.epochs}


def in_memory(folder: pathlib.Path) -> OpenStudy:
  store = Store(optuna.storages.InMemoryStorage(), contextlib.nullcontext, 'memory')
  made = optuna.create_study(storage=store.storage, direction='maximize')
  return OpenStudy(folder, Plan('evolve', 'quickstart', settings=SETTINGS), store, made)


def evolve(
  opened: OpenStudy, trials: int = 18, train: attempt.Train = fake_train, **changes: Any
) -> OpenStudy:
  worker.work(opened, breeder_of(opened.folder, **changes), Budget(trials), train)
  return opened


@pytest.fixture(scope='module')
def opened(tmp_path_factory) -> OpenStudy:
  folder = tmp_path_factory.mktemp('studies') / 'evolution'
  storage = f'journal:{folder}/journal.log'  # faster than SQLite
  plan = Plan('evolve', 'quickstart', settings=SETTINGS, storage=storage)
  evolve(study.open_study(folder, plan), trials=7)
  return evolve(study.open_study(folder, plan))  # goes on


def test_each_individual_follows_from_those_before_it(opened):
  found = breeder.individuals(opened.trials())
  assert [x.number for x in found] == list(range(18))
  settings = breeder_of(opened.folder).settings
  for x in found:
    again = evolution.next_individual(
      settings, x.number, found[: x.number], CIFAR.image_shape, CIFAR.size_of
    )
    assert dataclasses.replace(again, score=x.score) == x
  assert [x.origin for x in found[:2]] == ['first'] * 2
  assert {x.origin for x in found[2:5]} <= {'varied', 'drawn'}
  assert [x.stage for x in found] == [0] * 10 + [1] * 8
  assert [x.origin for x in found[10:12]] == ['promoted'] * 2


def test_no_network_is_above_the_limits(opened):
  for trial in opened.trials():
    shown = trial.user_attrs[SHOWN]
    assert shown['parameters'] <= 200_000
    assert shown['macs'] <= 20_000_000


def test_a_trial_is_trained_for_its_stage_and_never_opens_the_test_set(opened):
  lengths = []
  for trial in opened.trials():
    config = study.trial_config(trial)
    lengths.append((config.epochs, config.max_steps))
    assert not config.evaluate.test
    assert config.init_from == ''
    configs.validate(config)
  # Half an epoch of 45,000 images in batches of 128, of which there are 352.
  assert lengths == [(1, 176)] * 10 + [(2, 0)] * 8


def test_the_best_is_of_the_last_stage_and_is_told_in_full_length(opened):
  (best,) = show.best_trials(opened, opened.trials())
  individuals = breeder.individuals(opened.trials())
  assert best.number == evolution.best_of(individuals).number
  assert best.user_attrs[STAGE] == 1
  config = results.best_config(opened.folder)
  assert (config.epochs, config.max_steps, config.init_from) == (4, 0, '')
  assert of_config(config) == individuals[best.number].genome
  path = results.write_best(opened)
  assert configs.load(str(path)).model.widths == config.model.widths


def test_the_baseline_is_the_network_that_the_config_has(opened):
  baseline = results.baseline_config(opened.folder)
  assert dict(configs.flatten(baseline)) == dict(configs.flatten(base_config()))


def test_the_table_says_who_came_from_whom(opened):
  rows.Table().write(opened, opened.trials())
  told = table.read_table(opened.folder)
  individuals = breeder.individuals(opened.trials())
  for row, x in zip(told, individuals, strict=True):
    assert row['param.origin'] == x.origin
    assert str(row.get('param.parents', '')).split('.')[0].split() == [
      str(parent) for parent in x.parents
    ]
    assert row['param.parameters'] == x.size.parameters
    assert row.get('val_accuracy') == x.score


def test_the_line_of_a_trial_names_its_network_before_it_is_cut_off(opened):
  for trial in opened.trials():
    line, shown = show.line_of(opened, trial), trial.user_attrs[SHOWN]
    whole = show.line_of(opened, trial, letters=None)
    assert line == whole if len(whole) <= 160 else (len(line) == 160 and line[-3:] == '...')
    assert f' blocks={shown["blocks"]} ' in line
    assert f' parameters={shown["parameters"]} ' in line


def test_a_network_that_fails_wins_no_tournament(tmp_path):
  def train(config: ConfigDict, run: pathlib.Path, *arguments: Any, **options: Any) -> Any:
    if int(run.parent.name) % 3 == 1:
      raise UserError('the loss became NaN or infinite')
    return fake_train(config, run, *arguments, **options)

  opened = evolve(in_memory(tmp_path), train=train)
  failed = {trial.number for trial in opened.trials() if trial.state.name == 'FAIL'}
  assert failed >= {1, 4, 7, 10, 13, 16}
  found = breeder.individuals(opened.trials())
  assert len(found) == 18
  children = [x for x in found if x.origin not in ('varied', 'drawn')]
  assert not failed & {parent for x in children for parent in x.parents}


def test_a_trial_that_is_proposed_again_is_the_same_one(tmp_path):
  """Though another has ended meanwhile; and where only a part of it was stored, it is complete."""
  opened = evolve(in_memory(tmp_path), trials=6)
  made, other = breeder_of(tmp_path), opened.study.ask()
  trial = opened.study.ask()
  before = made.propose(trial, opened.study)
  opened.study.tell(other, 0.99)
  again = breeder_of(tmp_path).propose(opened.ask_for(opened.trials()[7]), opened.study)
  assert dict(configs.flatten(again)) == dict(configs.flatten(before))
  attributes = opened.trials()[7].user_attrs
  names = (STAGE, SHOWN, IN_FULL, INDIVIDUAL)
  assert attributes.keys() >= {*names}
  # Who it is was stored last: killed before that, the trial is proposed anew.
  assert list(made._attributes_of(breeder.individuals(opened.trials())[-1]))[-1] == names[-1]


def test_a_child_begins_with_its_parents_weights_where_there_are_some(tmp_path, monkeypatch):
  opened = evolve(in_memory(tmp_path), trials=9)
  made = breeder_of(tmp_path, inherits=True)
  born = breeder.individuals(opened.trials())
  child = next(x for x in born if x.origin == evolution.MUTATED)
  assert made.config_of(child).init_from == ''  # the made-up training leaves none
  monkeypatch.setattr(breeder.Checkpoints, 'best', lambda self: 5)
  config = made.config_of(child)
  assert config.init_from == str(opened.run_of(child.parents[0], 0))
  assert config.init_matching
  assert made.config_of(born[0]).init_from == ''
  for origin in (evolution.PROMOTED, evolution.VARIED):
    assert made.config_of(dataclasses.replace(child, origin=origin)).init_from == ''


def test_random_search_has_the_same_given_networks_and_stages(tmp_path, opened):
  control = evolve(in_memory(tmp_path), at_random=True)
  found, other = (breeder.individuals(x.trials()) for x in (control, opened))
  assert [x.genome for x in found[:2]] == [x.genome for x in other[:2]]
  assert {x.origin for x in found} == {'first', 'drawn', 'promoted'}
  assert [x.origin for x in found[10:12]] == ['promoted'] * 2


def test_other_settings_in_the_same_folder_are_refused(opened):
  settings = {**SETTINGS, 'population': 6}
  with pytest.raises(UserError, match='other --population: 5 before, 6 now'):
    study.open_study(opened.folder, dataclasses.replace(opened.plan, settings=settings))


@pytest.mark.parametrize(
  ('epochs', 'expected'), [(0.001, (1, 1)), (0.5, (1, 176)), (1, (1, 0)), (2.25, (3, 792))]
)
def test_lengths(epochs, expected):
  """There are 352 batches in an epoch."""
  config = breeder.with_length(base_config(), epochs, CIFAR)
  assert (config.epochs, config.max_steps) == expected
  assert breeder.full_length(config, CIFAR) == pytest.approx(max(epochs, 1 / 352), abs=1e-9)


@pytest.mark.parametrize(
  ('option', 'value'),
  [
    ('optimizer.groups', ConfigDict({'biases': {'pattern': '.*bias'}})),
    ('whitening.layer', 'Conv_0'),
    ('init_from', 'runs/other'),
  ],
)
def test_a_config_that_speaks_of_one_network_is_refused(option, value):
  config = base.get_config()
  section, _, name = option.rpartition('.')
  (config[section] if section else config)[name] = value
  with pytest.raises(UserError, match=f'--config.{option} names parts of one network'):
    breeder.check_base(config)
  breeder.check_base(cnn_adv.get_config())


def test_an_evolution_in_memory_needs_no_folder():
  """As `study.check_proposals` tries it."""
  made = breeder_of(pathlib.Path('nowhere'))
  memory = optuna.create_study()
  config = made.propose(memory.ask(), memory)
  assert of_config(config) == of_config(base_config())
