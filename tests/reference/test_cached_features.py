"""A head on cached maps: the maps by NumPy from the published tensors, twenty updates in Optax."""

import numpy as np
import optax
import pytest

from cifar_jax import data
from cifar_jax.models import pretrained as published
from tests.helpers import tiny
from tests.helpers.tiny_network import NETWORK, tensors, use_as_base
from tests.reference import networks, rules
from tests.reference.input_path import Inputs
from tests.reference.systems import System, assert_same, pictures
from tests.reference.training import Outcome, Reference, by_toolkit
from tests.reference.ways import CHANNEL, GIVEN, WAYS

SYSTEM = System(networks.HeadOnMaps, rules.of_optax(optax.sgd(0.01, 0.9)), side=8)


def maps(images: np.ndarray) -> np.ndarray:
  """The frozen network, float64: a 3x3 convolution of stride 2, running statistics, ReLU.

  Even sides with 'SAME' padding get one row and one column of zeros, at the end.
  """
  arrays = {name: array.astype(np.float64) for name, array in tensors().items()}
  bordered = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(bordered, (3, 3), (1, 2))[:, ::2, ::2]
  found = np.einsum('nyxchw,fchw->nyxf', windows, arrays['conv.weight'])
  deviation = np.sqrt(arrays['bn.running_var'] + 1e-3)
  found = (found - arrays['bn.running_mean']) / deviation
  return np.maximum(found * arrays['bn.weight'] + arrays['bn.bias'], 0)


@pytest.mark.parametrize(
  ('inputs', 'way'),
  [
    pytest.param(Inputs(**GIVEN), 'one device', marks=pytest.mark.thorough),
    pytest.param(Inputs(**CHANNEL), 'host, eight', marks=pytest.mark.thorough),
    pytest.param(Inputs(**GIVEN), 'host', marks=pytest.mark.slow),
    pytest.param(Inputs(**CHANNEL), 'eight', marks=pytest.mark.slow),
    pytest.param(Inputs(**CHANNEL), 'mapped', marks=pytest.mark.slow),
    pytest.param(Inputs(), 'one device', marks=pytest.mark.slow),
  ],
)
def test_losses_and_parameters(tmp_path, monkeypatch, inputs, way) -> None:
  monkeypatch.setitem(published.NETWORKS, 'tiny', NETWORK)
  arrays = pictures(SYSTEM)
  np.savez(tmp_path / 'pictures.npz', **arrays)
  config = tiny.get_config()
  head = ('flatten', 'dense 8', 'dropout 0.2')
  use_as_base(config, tmp_path, pooled=False, head=head, features='cached')
  config.update_from_flattened_dict(
    {
      'data.name': 'pictures',
      'data.dir': str(tmp_path),
      'data.validation': 'test',
      'batch_size': SYSTEM.batch_size,
      'max_steps': rules.UPDATES,
      'optimizer.name': 'sgd',
      'optimizer.learning_rate': 0.01,
      'optimizer.momentum': 0.9,
      **inputs.options(),
      **WAYS[way],
    }
  )
  splits = data.split(data.load(config.data), 'test', 'random', config.seed)
  found = by_toolkit(config.lock(), splits)
  network = SYSTEM.network(rows=SYSTEM.batch_size)
  reference = Reference(network, SYSTEM.rule, inputs, SYSTEM.batch_size, frozen=maps)
  train, test = (
    data.Split(arrays[f'x_{split}'], arrays[f'y_{split}'].astype(np.int32))
    for split in ('train', 'test')
  )
  assert_same(without_base(found), reference.train(train, test), SYSTEM)


def without_base(found: Outcome) -> Outcome:
  """The head alone, after a look at the base, which stays as it was published."""
  for variables in (found.start, found.end):
    kernel = variables['params'].pop('base')['conv']['kernel']
    np.testing.assert_array_equal(kernel, tensors()['conv.weight'].transpose(2, 3, 1, 0))
    statistics = variables['batch_stats'].pop('base')['bn']
    np.testing.assert_array_equal(statistics['mean'], tensors()['bn.running_mean'])
  return found
