"""Which runs are of one system, and what a row of several says."""

import math
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.trials import groups
from configs import base


def changed(**values) -> ConfigDict:
  config = base.get_config()
  config.model = ConfigDict({'name': 'conv_net', 'widths': (8, 16)})
  with config.ignore_type():
    config.update_from_flattened_dict(values)
  return config


PLAIN = groups.signature(changed())


@pytest.mark.parametrize(
  'values',
  [
    {'seed': 7},
    {'tags': ('a',), 'tensorboard': False, 'profile.steps': 3},
    {'checkpoint.keep': 1, 'checkpoint.every_steps': 5, 'checkpoint.best': 'val_loss'},
    {'evaluate.every_epochs': 2, 'evaluate.images_every_epochs': 1, 'evaluate.test': False},
    {'data.dir': '/elsewhere', 'data.placement': 'host', 'data.folder.workers': 3},
    {'data.folder.resize': 'crop'},  # CIFAR-10 is no folder
    {'devices': 1, 'parallel': 'pmap', 'steps_per_dispatch': 5, 'pad_to_devices': True},
    {'early_stopping.monitor': 'val_accuracy', 'early_stopping.min_delta': 0.5},  # no patience
    {'plateau.factor': 0.5, 'whitening.images': 9},
    {'optimizer.beta1': 0.9},  # as by default
    {'optimizer.learning_rate': 1e-3},
  ],
  ids=lambda values: next(iter(values)),
)
def test_what_does_not_make_another_system(values) -> None:
  assert groups.signature(changed(**values)) == PLAIN


@pytest.mark.parametrize(
  'values',
  [
    {'epochs': 21},
    {'max_steps': 5},
    {'batch_size': 64},
    {'rng': 'rbg'},
    {'data.name': 'cifar100'},
    {'data.validation': '5000'},
    {'data.validation_from': 'last'},
    {'augment.flip': 'random'},
    {'model.widths': (16, 8)},
    {'optimizer.beta1': 0.8},
    {'optimizer.name': 'sgd'},
    {'schedule.name': 'cosine'},
    {'weight_averaging.name': 'ema'},
    {'early_stopping.patience': 3},
    {'evaluate.tta': 'flip'},
    {'init_from': 'runs/other'},
    {'optimizer.groups': {'biases': {'match': 'bias', 'weight_decay_factor': 0.0}}},
  ],
  ids=lambda values: next(iter(values)),
)
def test_what_makes_another_system(values) -> None:
  assert groups.signature(changed(**values)) != PLAIN


def test_with_patience_it_counts_how_often_is_validated() -> None:
  stopping = {'early_stopping.patience': 3}
  often = groups.signature(changed(**stopping))
  assert groups.signature(changed(**stopping, **{'evaluate.every_epochs': 2})) != often


def test_every_option_is_judged_by_its_declaration() -> None:
  """What changes no arithmetic is ignored, but for the length of a run."""
  ignored = {'seed', 'tags', 'devices', 'data.dir', 'checkpoint.keep', 'evaluate.test'}
  assert ignored <= configs.NEUTRAL
  assert {'epochs', 'max_steps'} <= configs.NEUTRAL


def row(folder: str, seed: int, accuracy: float | None = 0.7, **values):
  path = pathlib.Path(folder)
  found = {'folder': path, 'run': path.name, 'seed': seed, 'system': 'a', 'data': 'cifar10'}
  if accuracy is not None:
    found['val_accuracy'] = accuracy
  return {**found, 'state': 'finished', 'parameters': 9, **values}


def test_runs_that_differ_in_the_seed_are_one_row() -> None:
  (group,) = groups.grouped([row(f'runs/cnn_seeds/seed_{s}', s, 0.7 + s / 100) for s in (2, 0, 1)])
  assert group.name == 'cnn_seeds'
  assert group.seeds == (0, 1, 2)
  assert group.values('val_accuracy') == {0: 0.7, 1: 0.71, 2: 0.72}
  assert math.isnan(group.values('test_accuracy')[0])
  found = group.row()
  assert (found['run'], found['n'], found['seeds'], found['parameters']) == (
    'cnn_seeds',
    3,
    '0-2',
    9,
  )
  assert found['val_accuracy'] == pytest.approx(0.71)
  assert found['val_accuracy_sd'] == pytest.approx(np.std([0.7, 0.71, 0.72], ddof=1))
  # 4.302653 is Student's t for 2 degrees of freedom.
  half = 4.302653 * 0.01 / math.sqrt(3)
  assert found['val_accuracy_low'] == pytest.approx(0.71 - half)
  assert found['val_accuracy_high'] == pytest.approx(0.71 + half)
  assert not {'seed', 'folder'} & found.keys()


def test_what_does_not_mix() -> None:
  """Unfinished runs stand alone, and so do other data and other systems."""
  rows = [
    row('a_s0', 0),
    row('a_s1', 1),
    row('a_s2', 2, state='3 of 9'),
    row('a_s3', 3, state='3 of 9'),
    row('b', 0, data='cifar10 (1234)'),
    row('c', 0, system='c'),
    row('old', 1, system=None),
    row('older', 2, system=None),
  ]
  found = groups.grouped(rows)
  assert [(group.name, group.seeds) for group in found] == [
    *(('a*', (0, 1)), ('a_s2', (2,)), ('a_s3', (3,)), ('b', (0,)), ('c', (0,))),
    *(('old', (1,)), ('older', (2,))),
  ]
  assert [group.finished for group in found] == [True, False, False, True, True, True, True]


def test_a_seed_counts_once() -> None:
  """The same run again is no second measurement."""
  (group,) = groups.grouped([row('x/seed_0', 0), row('x/seed_1', 1), row('y', 1)])
  assert group.seeds == (0, 1)
  assert [str(one['folder']) for one in group.repeated] == ['y']


def test_groups_of_one_name_are_told_by_their_place() -> None:
  rows = [row(f'{s}/final/best/seed_{n}', n, system=s) for s in ('s', 't') for n in (0, 1)]
  assert [group.name for group in groups.grouped(rows)] == ['s/final/best', 't/final/best']


def test_a_number_that_some_lack() -> None:
  (group,) = groups.grouped([row('a/seed_0', 0, 0.5), row('a/seed_1', 1, None, test_loss=1.0)])
  found = group.row()
  assert (found['n'], found['val_accuracy'], found['test_loss']) == (2, 0.5, 1.0)
  assert math.isnan(found['val_accuracy_sd'])
  assert (found['val_accuracy_n'], found['test_loss_n']) == (1, 1)
  assert not {'parameters_n', 'seconds_n'} & found.keys()  # all have it, or none


def test_trials_of_a_study_are_systems_of_their_own(tmp_path) -> None:
  """The winner was chosen for its numbers: it is no seed more of the runs that judge it."""
  (tmp_path / 's').mkdir()
  (tmp_path / 's' / 'study.json').write_text('{}')
  outside = ('s/final/best/seed_1', 's/final_1/best/seed_1', 'best', 'trials/00003/seed_0')
  inside = ('s/trials/00003/seed_0', 's/best')  # which best.py trains, with the trial's seed
  others, chosen = (
    {groups.system(tmp_path / name, changed()) for name in names} for names in (outside, inside)
  )
  assert others == {PLAIN}
  assert len(chosen) == 1
  assert chosen != others


@pytest.mark.parametrize(
  ('seeds', 'expected'), [((0, 1, 2), '0-2'), ((0, 1), '0 1'), ((0, 3, 7), '0 3 7'), ((5,), '5')]
)
def test_listed_seeds(seeds, expected) -> None:
  assert groups.listed_seeds(seeds) == expected
