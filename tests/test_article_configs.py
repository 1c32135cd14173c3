"""The configs of the articles have the articles' settings; their networks are in test_summary."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.config import flatten

ADAM = {
  'optimizer.name': 'keras_adam',
  'optimizer.learning_rate': 1e-3,
  'schedule.name': 'constant',
}
SGD = {'optimizer.name': 'keras_sgd', 'optimizer.learning_rate': 0.01, 'optimizer.momentum': 0.9}
SLOWING = {'schedule.name': 'time_decay', 'schedule.decay': 1e-6}
ON_TEST = {'data.validation': 'test'}
HELD_OUT = {'data.validation': '10000', 'data.validation_from': 'last'}
SEEDED = {'seed': 1337}

# name: epochs, batch, everything else that the article decides.
SETTINGS: dict[str, tuple[int, int, dict[str, Any]]] = {
  'lr': (20, 128, ADAM | ON_TEST),
  'mlp': (20, 32, ADAM | ON_TEST),
  'cnn_simple': (20, 32, ADAM | ON_TEST),
  'cnn_adv': (100, 128, ADAM | ON_TEST),
  'cnn_fchollet': (
    200,
    32,
    {'optimizer.name': 'keras_rmsprop', 'optimizer.learning_rate': 1e-4} | SLOWING | ON_TEST,
  ),
  'cnn_pkaur': (200, 128, ADAM | ON_TEST),
  'cnn_pkaur_augmented': (
    400,
    128,
    ADAM | ON_TEST | {'augment.from_epoch': 200, 'augment.zoom': 0.2, 'augment.flip': 'random'},
  ),
  'tutorial_4layer': (
    100,
    32,
    SGD
    | {'optimizer.learning_rate': 0.1, 'optimizer.momentum': 0.0, 'optimizer.nesterov': True}
    | SLOWING
    | ON_TEST,
  ),
  'tutorial_6layer': (100, 32, SGD | SLOWING | ON_TEST),
  'episode2': (100, 64, SGD | HELD_OUT | {'schedule.name': 'constant'}),
  'episode2_as_printed': (100, 64, SGD | HELD_OUT | {'schedule.name': 'constant'}),
  'p5_dcnn': (100, 128, ADAM | ON_TEST | SEEDED),
  'p5_8140': (75, 256, ADAM | ON_TEST | SEEDED),
}
PLAIN = {'loss.label_smoothing': 0.0, 'data.mean': (0.0,), 'data.std': (1.0,)}  # in all of them


def config_of(name: str) -> ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config().lock()


@pytest.mark.parametrize('name', SETTINGS)
def test_settings_are_the_articles(name: str):
  epochs, batch_size, settings = SETTINGS[name]
  present = dict(flatten(config_of(name)))
  expected = {'epochs': epochs, 'batch_size': batch_size, **PLAIN, **settings}
  assert {key: present[key] for key in expected} == expected
  # Nothing else is switched on.
  assert not any(
    present[f'optimizer.{option}'] for option in ('weight_decay', 'gradient_clip_norm')
  )
  if settings.get('schedule.name') == 'constant':
    assert present['schedule.decay'] is None


def test_only_the_wide_layer_of_tutorial_6layer_is_bounded():
  groups = config_of('tutorial_6layer').optimizer.groups.to_dict()
  assert groups == {'dense': {'pattern': 'Dense_0/kernel', 'max_norm': 3.0}}
  config = config_of('tutorial_6layer')
  module = models.create(config.model, 10)
  images = jnp.zeros((1, 32, 32, 3))
  params = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))['params']
  assert params['Dense_0']['kernel'].shape == (2048, 1024)
