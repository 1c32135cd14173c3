"""What is shown of a network's inside, against Flax, finite differences and sums by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import models
from cifar_jax.analysis import attribution


class Residual(nn.Module):
  """A block of two convolutions with a shortcut, as networks of this kind are written."""

  @nn.compact
  def __call__(self, maps):
    inner = nn.relu(nn.Conv(4, (3, 3))(maps))
    return maps + nn.Conv(4, (3, 3))(inner)


class Small(nn.Module):
  """Nested modules, then the mean over all places and one dense layer."""

  @nn.compact
  def __call__(self, images, train):
    maps = Residual()(nn.Conv(4, (3, 3))(images))
    return nn.Dense(3, name='logits')(maps.mean((1, 2)))


IMAGES = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 3)), jnp.float32)


@pytest.fixture(scope='module')
def small():
  module = Small()
  return module, module.init(jax.random.key(0), IMAGES, train=False)


def test_outputs_are_those_that_flax_captures(small) -> None:
  module, variables = small
  _, captured = module.apply(variables, IMAGES, train=False, capture_intermediates=True)
  found = attribution.layer_outputs(module, variables, IMAGES)
  assert list(found) == ['Conv_0', 'Residual_0/Conv_0', 'Residual_0/Conv_1', 'logits']
  for path, output in found.items():
    tree = captured['intermediates']
    for key in path.split('/'):
      tree = tree[key]
    np.testing.assert_array_equal(output, tree['__call__'][0])


def test_layers_with_maps_come_in_their_order(small) -> None:
  module, variables = small
  assert attribution.map_layers(module, variables, (6, 6, 3)) == {
    'Conv_0': (6, 6, 4),
    'Residual_0/Conv_0': (6, 6, 4),
    'Residual_0/Conv_1': (6, 6, 4),
  }


def test_features_are_what_the_last_layer_is_given(small) -> None:
  module, variables = small
  features = attribution.features(module, variables, IMAGES)
  dense = variables['params']['logits']
  logits = module.apply(variables, IMAGES, train=False)
  np.testing.assert_allclose(features @ dense['kernel'] + dense['bias'][None], logits, rtol=1e-5)


def test_saliency_is_the_largest_slope(small) -> None:
  """Against central differences at a few pixels."""
  module, variables = small
  classes = jnp.asarray([1, 2])
  found = attribution.saliency(module, variables, IMAGES, classes)
  assert found.shape == (2, 6, 6)
  for image, row, column in ((0, 0, 0), (0, 3, 4), (1, 5, 2)):
    slopes = []
    for channel in range(3):
      change = jnp.zeros_like(IMAGES).at[image, row, column, channel].set(1e-2)
      above, below = (
        module.apply(variables, IMAGES + sign * change, train=False)[image, classes[image]]
        for sign in (1, -1)
      )
      slopes.append(abs(float(above - below)) / 2e-2)
    assert found[image, row, column] == pytest.approx(max(slopes), rel=1e-2, abs=1e-4)


def test_grad_cam_by_hand(small) -> None:
  """The last maps are averaged and weighed by the dense layer, so the logit's gradient with respect
  to each place of map k is its weight / 36, and Grad-CAM is relu(sum of weight / 36 x map).
  """
  module, variables = small
  classes = jnp.asarray([0, 2])
  found = attribution.grad_cam(module, variables, IMAGES, classes, 'Residual_0/Conv_1')
  maps = attribution.layer_outputs(module, variables, IMAGES)['Residual_0/Conv_1']
  weights = variables['params']['logits']['kernel'][:, classes].T / 36  # [2, 4]
  expected = np.maximum(np.einsum('bk,bhwk->bhw', weights, maps), 0)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
  assert (expected > 0).any()


@pytest.mark.parametrize(
  'config', ['lr', 'lenet5', 'resnet20', pytest.param('vit_tiny', marks=pytest.mark.thorough)]
)
def test_any_network_can_be_looked_into(config: str) -> None:
  """Shapes alone: nothing is computed."""
  module_path = pytest.importorskip(f'configs.{config}')
  chosen = module_path.get_config()
  channels = chosen.data.channels or 3
  side = chosen.data.pad_to or 32
  module = models.create(chosen.model, 10)
  images = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
  variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), images)
  layers = attribution.map_layers(module, variables, images.shape[1:])
  assert bool(layers) == (config not in ('lr',))
  described = jax.eval_shape(lambda v, x: attribution.features(module, v, x), variables, images)
  assert described.shape[0] == 1
