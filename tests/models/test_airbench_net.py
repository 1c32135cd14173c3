"""The network of airbench against published counts and against PyTorch's formulas in NumPy."""

import functools
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.analysis.flops import FORWARD, TRAINING, macs
from cifar_jax.utils.errors import UserError

SMALL = {'name': 'airbench_net', 'widths': (6, 8), 'convolutions': (2, 3), 'residual': True}


def config_of(name: str) -> ConfigDict:
  return importlib.import_module(f'configs.{name}').get_config()


def init(module, images, seed=0):
  return jax.jit(functools.partial(module.init, train=False))(jax.random.key(seed), images)


def create(**fields):
  return models.create({**SMALL, **fields}, num_classes=10)


# Parameters count everything but running statistics, the whitening kernel included.
@pytest.mark.parametrize(
  ('widths', 'each', 'residual', 'parameters', 'mega_macs'),
  [
    ((64, 128, 128), 2, False, 569_016, 54.2),
    ((64, 256, 256), 2, False, 1_971_640, 118.1),
    ((128, 384, 384), 2, False, 4_604_728, 301.6),
    ((128, 384, 512), 3, True, 9_915_704, 452.0),
  ],
)
def test_published_sizes(widths, each, residual, parameters, mega_macs) -> None:
  module = create(widths=widths, convolutions=(each,) * 3, residual=residual)
  images = jnp.zeros((1, 32, 32, 3))
  variables = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
  assert macs(module, (32, 32, 3)) / 1e6 == pytest.approx(mega_macs, abs=0.05)


@pytest.mark.parametrize(
  ('name', 'steps', 'tera_operations', 'with_evaluation'),
  [
    ('airbench94', 476, 346, 360),
    ('airbench94_muon', 200, 284, 298),
    ('speedrun94', 243, 265, 279),
    ('airbench95', 720, 1334, 1334 + 36),
    ('airbench96', 1776, 4932, 4932 + 54),
  ],
)
def test_published_arithmetic(name, steps, tera_operations, with_evaluation) -> None:
  config = config_of(name)
  per_epoch = 50_000 // config.batch_size
  assert min(config.max_steps or math.inf, config.epochs * per_epoch) == steps
  each = macs(models.create(config.model, 10), (32, 32, 3)) / 1e12
  training = TRAINING * each * steps * config.batch_size
  assert training == pytest.approx(tera_operations, abs=1)
  six_views = FORWARD * each * 6 * 10_000
  assert training + six_views == pytest.approx(with_evaluation, abs=1.5)


def test_rates_and_decays_are_the_published_ones() -> None:
  """For the mean loss: the rate of the sum times the batch size, its decay divided by that."""
  expected = {
    'airbench94': (1.5, 1.33043e-3, 96.0, 2.0788e-5),
    'airbench95': (1.30435, 1.53e-3, 64 * 1.30435, 1.53e-3 / 64),
    'airbench96': (1.17391, 1.33333e-3, 64 * 1.17391, 1.33333e-3 / 64),
    'airbench94_muon': (0.67 * 2000, 2e-6 / 0.67, 0.053 * 2000, 2e-6 / 0.053),
    'speedrun94': (0.5415 * 1536, 1.0418e-6 / 0.5415, 0.0573 * 1536, 1.0418e-6 / 0.0573),
  }
  for name, numbers in expected.items():
    section = config_of(name).optimizer
    biases = section.groups.norm_biases
    found = (
      section.learning_rate,
      section.weight_decay,
      section.learning_rate * biases.learning_rate_factor,
      section.weight_decay * biases.weight_decay_factor,
    )
    assert found == pytest.approx(numbers, rel=1e-5)
  for name, rate in (('airbench94_muon', 0.24), ('speedrun94', 0.205)):
    muon = config_of(name).optimizer
    assert muon.learning_rate * muon.groups.filters.learning_rate_factor == pytest.approx(rate)


def erf_gelu(x: np.ndarray) -> np.ndarray:
  return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def convolve(x: np.ndarray, kernel: np.ndarray, padding: int) -> np.ndarray:
  x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
  return np.einsum('bhwcij,ijcf->bhwf', windows, kernel)


def pool(x: np.ndarray, size: int) -> np.ndarray:
  height, width = x.shape[1] // size, x.shape[2] // size
  x = x[:, : height * size, : width * size]
  return x.reshape(len(x), height, size, width, size, -1).max((2, 4))


def numpy_logits(params, images: np.ndarray) -> np.ndarray:
  """Training mode, written down from the description of the network, in float64."""

  def norm(x, bias):
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-12) + bias

  x = convolve(images, params['whitening']['kernel'], 0) + params['whitening']['bias']
  x = erf_gelu(x)
  for group, count in (('Group_0', 2), ('Group_1', 3)):
    first = np.float32(0)  # what comes out of the first convolution
    for i in range(count):
      x = convolve(x, params[group][f'Conv_{i}']['kernel'], 1)
      x = pool(x, 2) if i == 0 else x
      x = norm(x, params[group][f'BatchNorm_{i}']['bias'])
      x = x + first if i == count - 1 else x
      x = erf_gelu(x)
      first = x if i == 0 else first
  return x.max((1, 2)) @ params['logits']['kernel'] / 9


def test_forward_pass_against_numpy() -> None:
  generator = np.random.default_rng(0)
  module = create()
  images = generator.standard_normal((4, 12, 13, 3)).astype(np.float32)
  variables = init(module, images[:1], seed=1)
  params = jax.tree.map(
    lambda p: (np.asarray(p) + 0.1 * generator.standard_normal(p.shape)).astype(np.float32),
    variables['params'],
  )
  apply = jax.jit(functools.partial(module.apply, train=True, mutable=['batch_stats']))
  logits, updated = apply({'params': params, 'batch_stats': variables['batch_stats']}, images)
  expected = numpy_logits(jax.tree.map(lambda p: np.asarray(p, np.float64), params), images)
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
  # Moving variance: 0.6 of the old one, 1, and 0.4 of the batch's.
  assert set(updated['batch_stats']['Group_1']) == {'BatchNorm_0', 'BatchNorm_1', 'BatchNorm_2'}
  x = convolve(images, params['whitening']['kernel'], 0) + params['whitening']['bias']
  first = pool(convolve(erf_gelu(x), params['Group_0']['Conv_0']['kernel'], 1), 2)
  moving = updated['batch_stats']['Group_0']['BatchNorm_0']
  np.testing.assert_allclose(moving['var'], 0.6 + 0.4 * first.var((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(moving['mean'], 0.4 * first.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)


def test_parameters_and_their_start() -> None:
  module = create(whitening_bias='uniform', head='unit')
  params = init(module, jnp.zeros((1, 32, 32, 3)))['params']
  assert set(params['Group_0']['BatchNorm_0']) == {'bias'}  # no scale
  assert set(params['Group_0']['Conv_0']) == {'kernel'}
  assert params['whitening']['kernel'].shape == (2, 2, 3, 24)
  assert 0.2 < np.abs(params['whitening']['bias']).max() <= 12**-0.5
  assert float(jnp.std(params['logits']['kernel'], ddof=1)) == pytest.approx(1, rel=1e-5)
  kernel = np.asarray(params['Group_1']['Conv_1']['kernel'])
  np.testing.assert_array_equal(kernel[1, 1], np.eye(8))  # equal widths start as the identity
  assert np.abs(kernel).sum() == 8
  plain = init(create(), jnp.zeros((1, 32, 32, 3)))['params']
  np.testing.assert_array_equal(plain['whitening']['bias'], 0)
  assert np.abs(plain['logits']['kernel']).max() <= 8**-0.5


def test_activation_of_the_whitening_alone() -> None:
  module = create(activation='relu', whitening_activation='tanh')
  images = jax.random.normal(jax.random.key(3), (2, 8, 8, 3))
  variables = init(module, images)
  _, kept = module.apply(
    variables, images, train=False, capture_intermediates=True, mutable='intermediates'
  )
  whitened = np.asarray(kept['intermediates']['whitening']['__call__'][0])
  first = variables['params']['whitening']
  expected = np.tanh(
    convolve(np.asarray(images), np.asarray(first['kernel']), 0) + np.asarray(first['bias'])
  )
  np.testing.assert_allclose(whitened, expected, rtol=1e-4, atol=1e-5)
  assert np.asarray(kept['intermediates']['Group_0']['__call__'][0]).min() >= 0
  with pytest.raises(UserError, match=r'--config.model.whitening_activation: .*'):
    create(whitening_activation='tanhh')


def test_logit_scale() -> None:
  images = jax.random.normal(jax.random.key(2), (2, 16, 16, 3))
  variables = init(create(), images)
  one, two = (
    jax.jit(functools.partial(create(logit_scale=scale).apply, train=False))(variables, images)
    for scale in (1 / 9, 1 / 256)
  )
  np.testing.assert_allclose(one * 9, two * 256, rtol=1e-5)


def test_masked_rows_have_no_influence() -> None:
  images = jax.random.normal(jax.random.key(2), (4, 16, 16, 3))
  variables = init(create(), images)
  mask = jnp.array([True, True, True, False])

  @jax.jit
  def logits(images, mask):
    options = {'train': True, 'mutable': ['batch_stats']}
    return create().apply(variables, images, mask=mask, **options)[0][:3]

  expected = logits(images[:3], None)
  np.testing.assert_allclose(logits(images, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'widths': (6,)}, r'convolutions=\(2, 3\) must be whole numbers from 1 up, one of each'),
    ({'convolutions': (0, 1)}, 'must be whole numbers from 1 up'),
    ({'widths': (), 'convolutions': ()}, 'must be whole numbers from 1 up'),
    ({'head': 'normal'}, "model.head must be 'uniform' or 'unit', not 'normal'"),
    ({'whitening_bias': 'no'}, "whitening_bias must be 'zeros' or 'uniform', not 'no'"),
    ({'activation': 'gleu'}, 'model.activation: no activation'),
  ],
)
def test_mistakes_name_the_flag(fields, message) -> None:
  with pytest.raises(UserError, match=message):
    create(**fields)


def test_images_too_small_for_the_network() -> None:
  with pytest.raises(UserError, match='does not fit'):
    init(create(widths=(4, 4, 4), convolutions=(1, 1, 1)), jnp.zeros((1, 6, 6, 3)))


@pytest.mark.parametrize(('name', 'limit'), [('fast83', 20), ('fast90', 40)])
def test_cpu_recipes_stay_small(name, limit) -> None:
  """In million multiply-adds an image; both leave the whole run to a schedule that ends at 0."""
  config = config_of(name)
  assert macs(models.create(config.model, 10), (32, 32, 3)) < limit * 1e6
  assert config.data.validation != 'test'
  head = config.optimizer.learning_rate
  assert head == pytest.approx(0.67 * 256)
  assert head * config.optimizer.groups.filters.learning_rate_factor == pytest.approx(0.24)
  biases = config.optimizer.groups.norm_biases
  assert head * biases.learning_rate_factor == pytest.approx(0.053 * 256)
