import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.layers import Conv
from cifar_jax.layers.initializers import (
  dirac_init,
  torch_default_bias_init,
  torch_default_init,
  unit_std_init,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize(('shape', 'fan_in'), [((3, 3, 16, 64), 144), ((400, 50), 400)])
def test_torch_uniform_fills_its_interval(shape, fan_in) -> None:
  """PyTorch: kaiming_uniform_ with a = sqrt(5), which is U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))."""
  values = np.asarray(torch_default_init()(KEY, shape))
  bound = fan_in**-0.5
  assert np.abs(values).max() <= bound
  assert np.abs(values).max() > 0.999 * bound
  assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
  assert abs(values.mean()) < 0.02 * bound


def test_torch_uniform_bias() -> None:
  values = np.asarray(torch_default_bias_init(12)(KEY, (4000,)))
  assert 0.99 * 12**-0.5 < np.abs(values).max() <= 12**-0.5
  assert values.std() == pytest.approx(12**-0.5 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize('features', [4, 7])
def test_partial_identity_passes_its_channels_on(features) -> None:
  layer = Conv(features, use_bias=False, kernel_init=dirac_init(torch_default_init()))
  images = jax.random.normal(KEY, (2, 5, 6, 4))
  outputs, variables = layer.init_with_output(KEY, images)
  np.testing.assert_allclose(outputs[..., :4], images, rtol=1e-6)
  if features > 4:
    rest = torch_default_init()(jax.random.key(1), (3, 3, 4, features))[..., 4:]
    found = variables['params']['kernel'][..., 4:]
    assert float(found.std()) == pytest.approx(float(rest.std()), rel=0.2)


def test_partial_identity_with_fewer_filters_than_channels() -> None:
  kernel = dirac_init(torch_default_init())(KEY, (3, 3, 5, 2))
  expected = np.zeros((3, 3, 5, 2))
  expected[1, 1, 0, 0] = expected[1, 1, 1, 1] = 1
  np.testing.assert_array_equal(kernel, expected)


def test_unit_deviation() -> None:
  kernel = unit_std_init(torch_default_init())(KEY, (64, 10))
  assert np.std(kernel, ddof=1) == pytest.approx(1, rel=1e-5)
  plain = torch_default_init()(KEY, (64, 10))
  ratio = jnp.ravel(kernel / plain)
  np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
