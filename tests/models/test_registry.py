import importlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.models.conv_net import ConvNet
from cifar_jax.utils.errors import UserError

SOURCE = """
import flax.linen as nn

class Net(nn.Module):
  num_classes: int
  hidden: int
  slope: float = 0.1
  sizes: tuple = ()
  dtype: object = None

  @nn.compact
  def __call__(self, images, train):
    return nn.Dense(self.num_classes)(images.reshape(images.shape[0], -1))

class NoClasses(nn.Module):
  def __call__(self, images, train, mask=None):
    return images

class NoTrain(nn.Module):
  def __call__(self, images):
    return images

def build(num_classes, **fields):
  return Net(num_classes, **fields)

not_a_network = dict
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
  (tmp_path / 'own_networks.py').write_text(SOURCE)
  monkeypatch.syspath_prepend(tmp_path)
  return importlib.import_module('own_networks')


def test_conv_net_is_registered():
  assert 'conv_net' in models.names()
  net = models.create(ConfigDict({'name': 'conv_net', 'widths': [4], 'block': [['conv3']]}), 7)
  assert isinstance(net, ConvNet)
  assert (net.num_classes, net.widths, net.block) == (7, (4,), (('conv3',),))
  hash(net)  # a network is a static argument of jitted functions


def test_none_means_the_default():
  assert models.create({'name': 'conv_net', 'activation': None}, 3).activation == 'relu'


def test_register_refuses_a_second_network_of_the_same_name():
  with pytest.raises(ValueError, match='registered already'):
    models.register('conv_net')(ConvNet)


def test_own_class_by_import_path(own):
  config = {'name': 'own_networks:Net', 'hidden': 3, 'sizes': [1, 2], 'dtype': 'bfloat16'}
  net = models.create(config, 5)
  assert net == own.Net(num_classes=5, hidden=3, sizes=(1, 2), dtype=jnp.bfloat16)
  assert isinstance(models.create({'name': 'own_networks:build', 'hidden': 2}, 5), own.Net)
  assert isinstance(models.create({'name': 'own_networks:NoClasses'}, 5), own.NoClasses)


@pytest.mark.parametrize(
  ('config', 'message'),
  [
    ({}, '--config.model.name: no network is called None'),
    (
      {'name': 'conv_nett'},
      "--config.model.name: no network is called 'conv_nett'; did you mean 'conv_net'?",
    ),
    ({'name': 'own_networks:Nett'}, "has no network 'Nett'; did you mean 'Net'?"),
    ({'name': 'no_such_package:Net'}, "'no_such_package' cannot be imported"),
    ({'name': ':Net'}, 'cannot be imported'),
    ({'name': 'own_networks:Net'}, '--config.model.hidden: own_networks:Net needs this field'),
    (
      {'name': 'own_networks:Net', 'hiden': 3},
      "--config.model.hiden: own_networks:Net has no such field; did you mean 'hidden'?",
    ),
    ({'name': 'own_networks:Net', 'hidden': 3, 'parent': 1}, '--config.model.parent'),
    ({'name': 'conv_net', 'width': (3,)}, "did you mean 'widths'?"),
    (
      {'name': 'conv_net', 'dtype': 'bfloat'},
      "--config.model.dtype: 'bfloat' is no compute dtype; did you mean 'bfloat16'?",
    ),
    ({'name': 'own_networks:NoTrain'}, 'own_networks:NoTrain takes (images), and is called with'),
    ({'name': 'own_networks:not_a_network'}, 'must give a flax.linen.Module, not dict'),
  ],
)
def test_mistakes_are_named(own, config: dict, message: str):
  with pytest.raises(UserError, match=re.escape(message)):
    models.create(config, 10)


@pytest.mark.parametrize(
  ('source', 'reason'),
  [('x = 1\nx.y\n', r'AttributeError in .*broken\.py, line 2: '), ('x = (\n', 'SyntaxError: ')],
)
def test_a_mistake_in_a_module_is_named(tmp_path, monkeypatch, source, reason) -> None:
  (tmp_path / 'broken.py').write_text(source)
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match=rf"'broken' cannot be imported \({reason}"):
    models.create({'name': 'broken:Net'}, 10)


class WithoutMask(nn.Module):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    return images.sum(axis=(1, 2, 3), keepdims=False)[:, None]


def test_takes_mask():
  assert models.takes_mask(ConvNet(10))
  assert not models.takes_mask(WithoutMask())


@pytest.mark.parametrize('module', [ConvNet(1), WithoutMask()])
def test_apply_gives_the_mask_to_those_who_take_it(module: nn.Module):
  images = jnp.ones((2, 4, 4, 1))
  variables = module.init(jax.random.key(0), images, train=False)
  mask = jnp.array([True, False])
  assert models.apply(module, variables, images, train=False, mask=mask).shape == (2, 1)
