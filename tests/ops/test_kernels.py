"""Each operation's kernel for CPU against the reference, in values and gradients."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.ops import activations, batch_norm, conv, dispatch, dropout, max_pool
from cifar_jax.startup import trials
from tests.helpers.kernels import RNG, assert_gradients, assert_same_function, normal


@pytest.mark.parametrize(
  ('shape', 'window'),
  [
    pytest.param(shape, window, marks=() if i == j else pytest.mark.thorough)
    for i, shape in enumerate([(2, 4, 4, 3), (3, 7, 5, 2), (1, 2, 9, 1)])
    for j, window in enumerate([(2, 2), (2, 3), (1, 2)])
  ],
)
def test_max_pool(shape, window):
  def plain(inputs):
    return max_pool.reference_max_pool(inputs, window, window, 'VALID')

  def form(inputs):
    return max_pool.disjoint_max_pool(inputs, window)

  assert_same_function(form, plain, normal(*shape))
  distinct = jnp.asarray(RNG.permutation(math.prod(shape)).reshape(shape), jnp.float32)
  assert_gradients(form, distinct, step=0.0625)


def test_max_pool_gives_ties_to_the_first_as_select_and_scatter_does():
  """After relu many windows hold several zeros; here, several of three values."""
  inputs = jnp.asarray(RNG.integers(0, 3, size=(4, 9, 8, 5)), jnp.float32)
  cotangent = normal(4, 4, 4, 5)
  gradients = [
    jax.vjp(pool, inputs)[1](cotangent)[0]
    for pool in (
      lambda x: max_pool.disjoint_max_pool(x, (2, 2)),
      lambda x: max_pool.reference_max_pool(x, (2, 2), (2, 2), 'VALID'),
    )
  ]
  np.testing.assert_array_equal(*gradients)
  window = jnp.array([[0.0, -0.0], [0.0, -1.0]]).reshape(1, 2, 2, 1)
  gradient = jax.grad(lambda x: max_pool.disjoint_max_pool(x, (2, 2)).sum())(window)
  np.testing.assert_array_equal(gradient.reshape(4), [1, 0, 0, 0])


def test_max_pool_of_bfloat16_is_that_of_float32():
  """It compares bits, those of zeros with either sign and of NaN among them."""
  values = RNG.choice([-2.0, -0.5, -0.0, 0.0, 1.0, 3.0], size=(4, 9, 8, 5))
  inputs, cotangent = jnp.asarray(np.abs(values), jnp.float32), normal(4, 4, 4, 5)
  cotangent = cotangent.astype(jnp.bfloat16).astype(jnp.float32)
  for signed in (inputs, jnp.where(values == 0, 1, values)):
    wide, narrow = (
      jax.vjp(lambda x: max_pool.disjoint_max_pool(x, (2, 2)), signed.astype(dtype))
      for dtype in (jnp.float32, jnp.bfloat16)
    )
    np.testing.assert_array_equal(wide[0], narrow[0].astype(jnp.float32))
    (expected,), (actual,) = wide[1](cotangent), narrow[1](cotangent.astype(jnp.bfloat16))
    np.testing.assert_array_equal(actual.astype(jnp.float32), expected)


def test_max_pool_leaves_overlapping_windows_to_xla(monkeypatch):
  monkeypatch.setattr(max_pool, 'disjoint_max_pool', None)
  inputs = normal(1, 6, 6, 1)
  assert max_pool.max_pool(inputs, (3, 3), (2, 2), 'VALID').shape == (1, 2, 2, 1)
  assert max_pool.max_pool(inputs, (2, 2), (2, 2), 'SAME').shape == (1, 3, 3, 1)


@pytest.mark.parametrize('channels', [(3, 5), (4, 1), (1, 4)])
def test_pointwise_conv(channels):
  inputs, kernel = normal(2, 5, 3, channels[0]), normal(1, 1, *channels)
  assert_same_function(
    conv.pointwise_conv,
    lambda x, k: conv.reference_conv(x, k, (1, 1), 'SAME', (1, 1), 1),
    inputs,
    kernel,
  )
  assert_gradients(conv.pointwise_conv, inputs, kernel, step=0.5)


@pytest.mark.parametrize(
  ('kernel_shape', 'strides', 'padding', 'groups'),
  [
    ((3, 3, 4, 6), (1, 1), 'SAME', 1),
    ((1, 1, 4, 6), (2, 2), 'VALID', 1),
    ((1, 1, 2, 6), (1, 1), 'VALID', 2),
    ((1, 1, 4, 6), (1, 1), ((1, 1), (0, 0)), 1),
  ],
)
def test_other_convs_are_plain(monkeypatch, kernel_shape, strides, padding, groups):
  monkeypatch.setattr(conv, 'pointwise_conv', None)
  inputs, kernel, options = normal(2, 6, 6, 4), normal(*kernel_shape), (strides, padding, (1, 1))
  np.testing.assert_array_equal(
    conv.conv(inputs, kernel, None, *options, groups, relu=False),
    conv.reference_conv(inputs, kernel, *options, groups),
  )


@pytest.mark.parametrize('shape', [(8, 3), (4, 5, 3, 2)])
def test_batch_norm(shape):
  inputs, scale, bias = normal(*shape), normal(shape[-1]), normal(shape[-1])

  def form(*arguments):
    return batch_norm.fused_normalize(*arguments, 1e-3)

  assert_same_function(
    form, lambda *arguments: batch_norm.reference_normalize(*arguments, 1e-3), inputs, scale, bias
  )
  assert_gradients(form, inputs, scale, bias, step=1e-2, tolerance=2e-2)


def test_gradient_of_batch_norm_far_from_zero_against_float64():
  """1,000 +- 1: the terms must not be grouped so that they cancel."""
  inputs = RNG.normal(1000, 1, size=(64, 3)).astype(np.float32)
  cotangent = RNG.normal(size=(64, 3))
  scale = np.array([0.5, 1.0, 2.0])
  exact = inputs.astype(np.float64)
  centred = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-3)
  # Ioffe and Szegedy (2015), section 3, in the form with normalized inputs.
  expected = (scale / np.sqrt(exact.var(0) + 1e-3)) * (
    cotangent - cotangent.mean(0) - centred * (cotangent * centred).mean(0)
  )
  _, pull_back = jax.vjp(
    lambda x: batch_norm.fused_normalize(x, jnp.float32(scale), jnp.zeros(3), 1e-3)[0], inputs
  )
  (actual,) = pull_back(jnp.float32(cotangent))
  np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(('mean', 'expected'), [(0.0, 0.0), (3.0, 0.0), (1000.0, 999.0)])
def test_batch_norm_in_one_pass_against_float64(mean, expected):
  """Values and all three gradients; `expected` is near a mean that is far from zero."""
  inputs, weights = normal(64, 5, 4) + mean, normal(64, 5, 4)
  scale, bias, about = jnp.full(4, 1.5), jnp.full(4, 0.5), jnp.full(4, expected)

  def loss(inputs, scale, bias):
    outputs, found_mean, variance = batch_norm.one_pass_normalize(inputs, scale, bias, 1e-3, about)
    return jnp.sum(outputs * weights), (outputs, found_mean, variance)

  gradients, found = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(inputs, scale, bias)
  x, w = np.asarray(inputs, np.float64), np.asarray(weights, np.float64)
  variance = x.var((0, 1))
  normalized = (x - x.mean((0, 1))) / np.sqrt(variance + 1e-3)
  np.testing.assert_allclose(found[1], x.mean((0, 1)), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found[2], variance, rtol=1e-4)
  np.testing.assert_allclose(found[0], normalized * 1.5 + 0.5, rtol=1e-3, atol=1e-3)
  dx = w - w.mean((0, 1)) - normalized * (w * normalized).mean((0, 1))
  dx *= 1.5 / np.sqrt(variance + 1e-3)
  np.testing.assert_allclose(gradients[0], dx, rtol=2e-3, atol=2e-3)
  np.testing.assert_allclose(gradients[1], (w * normalized).sum((0, 1)), rtol=1e-3, atol=0.05)
  np.testing.assert_allclose(gradients[2], w.sum((0, 1)), rtol=1e-4, atol=1e-3)


def test_batch_norm_on_tpu_adds_up_over_devices_once_each_way():
  """Eight CPU devices: one all-reduce of the sums forward, one backward; here four."""
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

  def gradients(inputs, scale, bias):
    def loss(inputs, scale, bias):
      outputs, _, _ = batch_norm.normalize_by_batch(inputs, scale, bias, 1e-3, jnp.zeros(4))
      return jnp.sum(outputs**3)

    return jax.grad(loss, argnums=(0, 1, 2))(inputs, scale, bias)

  shapes = [
    jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place)
    for shape, place in (((16, 5, 4), rows), ((4,), whole), ((4,), whole))
  ]

  def depth(platform):
    """The longest chain of all-reduces that wait for each other."""
    function = dispatch.for_platform(gradients, platform)
    text = jax.jit(function, out_shardings=(rows, whole, whole)).lower(*shapes).compile().as_text()
    waits = {}
    for line in text[text.index('ENTRY') :].splitlines():
      name, _, rest = line.strip().removeprefix('ROOT ').partition(' = ')
      before = max((waits.get(word, 0) for word in re.findall(r'%[\w.-]+', rest)), default=0)
      waits[name] = before + bool(re.search(r' all-reduce(-start)?\(', rest))
    return max(waits.values())

  assert depth('tpu') == 2
  assert depth('gpu') > 2


def test_relu():
  inputs = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0, -jnp.inf, jnp.inf])
  values, slopes = jax.vmap(jax.value_and_grad(activations.selected_relu))(inputs)
  np.testing.assert_array_equal(values, [0, 0, 0, np.float32(1e-30), 3, 0, np.inf])
  np.testing.assert_array_equal(slopes, [0, 0, 0, 1, 1, 0, 1])
  assert_same_function(activations.selected_relu, activations.reference_relu, normal(100))
  assert np.isnan(activations.selected_relu(jnp.float32(jnp.nan)))


@pytest.mark.parametrize(
  ('shape', 'probability'),
  [
    pytest.param(shape, probability, marks=() if i == j % 4 else pytest.mark.thorough)
    for i, shape in enumerate([(64, 50, 8), (64, 50, 7), (4099,), (1000, 3)])
    for j, probability in enumerate([0.75, 0.5, 0.9, 1 / 3, 0.998])
  ],
)
def test_packed_bernoulli_has_the_probability(shape, probability):
  draws = np.concatenate(
    [
      np.ravel(dropout.packed_bernoulli(jax.random.key(seed), probability, shape))
      for seed in range(8)
    ]
  )
  deviation = np.sqrt(probability * (1 - probability) / draws.size)
  assert abs(draws.mean() - probability) < 5 * deviation + 2**-17


@pytest.mark.parametrize('probability', [0.75, 0.9])
def test_lanes_of_a_word_are_independent(probability):
  """Elements 1 to 7 apart share a random word or sit in neighboring ones."""
  draws = np.asarray(dropout.packed_bernoulli(jax.random.key(0), probability, (2**18,)), np.float64)
  centred = draws - probability
  variance = probability * (1 - probability)
  for distance in range(1, 8):
    covariance = (centred[distance:] * centred[:-distance]).mean()
    assert abs(covariance) < 5 * variance / np.sqrt(draws.size)


def test_packed_bernoulli_at_its_ends():
  key = jax.random.key(0)
  assert dropout.packed_bernoulli(key, 1 - 1e-9, (1000,)).all()
  assert not dropout.packed_bernoulli(key, 1e-9, (1000,)).any()
  assert dropout.packed_bernoulli(key, 0.5, (0, 4)).shape == (0, 4)
  assert dropout.packed_bernoulli(key, 0.5, ()).shape == ()


@pytest.mark.parametrize('probability', [0.5, 0.9])
@pytest.mark.parametrize('implementation', ['threefry2x32', 'rbg'])
def test_word_bernoulli_has_the_probability(implementation, probability):
  key = jax.random.key(3, impl=implementation)
  drawn = np.asarray(dropout.word_bernoulli(key, probability, (64, 16, 16)))
  deviation = (probability * (1 - probability) / drawn.size) ** 0.5
  assert abs(drawn.mean() - probability) < 4 * deviation
  per_column = drawn.reshape(-1, 16).mean(0)
  assert np.abs(per_column - probability).max() < 5 * 4 * deviation  # of a sixteenth of them


@pytest.mark.parametrize('rate', [0.25, 0.1])
def test_dropout_scales_what_it_keeps_and_its_gradient_alike(rate):
  inputs, key = normal(32, 16) + 10, jax.random.key(1)
  outputs, pull_back = jax.vjp(lambda x: dropout.dropout(key, x, rate), inputs)
  kept = np.asarray(outputs != 0)
  np.testing.assert_allclose(outputs, np.where(kept, inputs / (1 - rate), 0), rtol=1e-6)
  (gradient,) = pull_back(jnp.ones_like(inputs))
  np.testing.assert_allclose(gradient, np.where(kept, 1 / (1 - rate), 0), rtol=1e-6)


def test_reference_kernels_by_environment_by_backend_and_by_context(monkeypatch):
  assert dispatch.use_cpu_kernels()  # these tests run on CPU
  with dispatch.reference_kernels():
    assert dispatch.on_one_device(dispatch.is_on_one_device)()
    assert not dispatch.on_one_device(dispatch.use_cpu_kernels)()
  assert dispatch.use_cpu_kernels()
  assert not dispatch.is_on_one_device()  # there are eight
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert not dispatch.use_cpu_kernels()
  monkeypatch.undo()
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'off')
  assert not dispatch.use_cpu_kernels()
  key = jax.random.key(0)
  ones = jnp.ones((16, 16))
  expected = 2 * jax.random.bernoulli(key, 0.5, (16, 16)).astype(jnp.float32)
  np.testing.assert_array_equal(dropout.dropout(key, ones, 0.5), expected)


def test_the_old_name_of_the_environment_s_variable_is_understood(monkeypatch, caplog):
  trials.say.cache_clear()
  monkeypatch.setenv('CIFAR_JAX_CPU_FORMS', 'off')
  for _ in range(2):
    assert not dispatch.use_cpu_kernels()
  (line,) = caplog.messages
  assert 'CIFAR_JAX_CPU_FORMS' in line
  assert 'CIFAR_JAX_CPU_KERNELS' in line
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'on')  # the new name has the last word
  assert dispatch.use_cpu_kernels()
