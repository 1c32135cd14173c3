"""Convolutions by oneDNN against XLA's own, in values and gradients."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.analysis.flops import macs
from cifar_jax.layers import Conv
from cifar_jax.ops import conv, depthwise, dispatch, onednn, self_test
from tests.helpers.kernels import (
  assert_eight_devices_do_as_one,
  assert_gradients,
  assert_same_function,
  normal,
)

pytestmark = pytest.mark.skipif(
  not dispatch.has_fast_kernels('float32'), reason='oneDNN has no kernels for this processor'
)
OBJECTION = dispatch.objection_to_library.__wrapped__  # without what it remembers
needs_bfloat16 = pytest.mark.skipif(
  not dispatch.has_fast_kernels('bfloat16'), reason='the processor has no products of bfloat16'
)


@pytest.fixture(autouse=True)
def switched_on(monkeypatch):
  """And held to work, which takes a process of its own to find out."""
  monkeypatch.setenv('CIFAR_JAX_ONEDNN', 'on')
  monkeypatch.setattr(dispatch, 'objection_to_library', lambda dtype: '')


def plain(inputs, kernel, bias, strides, pads, relu):
  outputs = conv.reference_conv(inputs, kernel, strides, pads, (1, 1), 1)
  if bias is not None:
    outputs = outputs + bias.reshape(1, 1, 1, -1)
  return jax.nn.relu(outputs) if relu else outputs


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('with_bias', [False, True])
@pytest.mark.parametrize(
  ('window', 'strides', 'pads'),
  [
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((3, 3), (2, 2), ((0, 1), (0, 1))),
    ((1, 1), (1, 1), ((0, 0), (0, 0))),
    ((1, 1), (2, 2), ((0, 0), (0, 0))),
    ((2, 5), (1, 1), ((0, 1), (4, 0))),
    ((5, 2), (3, 1), ((2, 2), (0, 0))),
  ],
)
@pytest.mark.parametrize('channels', [(3, 8), pytest.param((6, 5), marks=pytest.mark.thorough)])
def test_float32(channels, window, strides, pads, with_bias, relu):
  inputs, kernel = normal(3, 9, 8, channels[0]), normal(*window, *channels)
  bias = normal(channels[1]) if with_bias else None
  arguments = (inputs, kernel, bias) if with_bias else (inputs, kernel)

  def form(inputs, kernel, bias=None):
    return onednn.conv(inputs, kernel, bias, strides, pads, relu)

  assert_same_function(form, lambda x, k, b=None: plain(x, k, b, strides, pads, relu), *arguments)
  if not relu:  # differences across its corner are no gradients; elsewhere any are exact
    assert_gradients(form, *arguments, step=0.5)


@pytest.mark.parametrize('examples', [1, 51])
@pytest.mark.parametrize(
  ('window', 'pads'), [((3, 3), ((1, 1), (1, 1))), ((2, 5), ((0, 1), (4, 0)))]
)
def test_float32_on_large_maps(window, pads, examples, monkeypatch):
  """Kernel gradients of 16 images at a time, as convolutions: one, or three calls."""
  monkeypatch.setattr(onednn, '_SMALL_GRADIENT', 0)
  inputs, kernel, bias = normal(examples, 14, 13, 6), normal(*window, 6, 5), normal(5)
  calls = program(
    jax.grad(lambda k: onednn.conv(inputs, k, bias, (1, 1), pads, False).sum()), kernel
  )
  assert calls.count('"__onednn$convolution"') == (1 if examples == 1 else 3)  # and none of XLA's
  assert_same_function(
    lambda *a: onednn.conv(*a, (1, 1), pads, True),
    lambda *a: plain(*a, (1, 1), pads, True),
    inputs,
    kernel,
    bias,
  )


@pytest.mark.parametrize('form', [depthwise.library_depthwise, depthwise.shifted_products])
@pytest.mark.parametrize(
  ('window', 'strides', 'pads'),
  [
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((3, 3), (2, 2), ((0, 1), (0, 1))),
    ((5, 2), (1, 1), ((4, 0), (0, 1))),
    ((1, 1), (1, 1), ((0, 0), (0, 0))),
  ],
)
@pytest.mark.parametrize('channels', [3, pytest.param(16, marks=pytest.mark.thorough)])
def test_depthwise(monkeypatch, channels, window, strides, pads, form):
  """Of three examples, two are taken at once for the kernel's gradient, then the last."""
  places = math.prod(
    conv.reference_conv(normal(1, 9, 8, 1), normal(*window, 1, 1), strides, pads, (1, 1), 1).shape
  )
  monkeypatch.setattr(depthwise, '_PLACES_AT_ONCE', 2 * places)
  inputs, kernel = normal(3, 9, 8, channels), normal(*window, 1, channels)

  def applied(inputs, kernel):
    return form(inputs, kernel, strides, pads)

  assert_same_function(
    applied,
    lambda x, k: conv.reference_conv(x, k, strides, pads, (1, 1), channels),
    inputs,
    kernel,
  )
  assert_gradients(applied, inputs, kernel, step=0.5)


@pytest.mark.parametrize('dtype', ['float32', pytest.param('bfloat16', marks=needs_bfloat16)])
def test_a_depthwise_kernel_gradient_in_a_loop_has_the_same_bits(monkeypatch, dtype):
  """Of five examples, two are taken at once, then the last."""
  monkeypatch.setattr(depthwise, '_PLACES_AT_ONCE', 2 * 6 * 7)
  inputs, kernel = normal(5, 6, 7, 8).astype(dtype), normal(3, 3, 1, 8).astype(dtype)

  def total(kernel):
    return depthwise.library_depthwise(inputs, kernel, (1, 1), ((1, 1), (1, 1))).sum(
      dtype='float32'
    )

  found = []
  for most in (64, 2):
    monkeypatch.setattr(depthwise, '_MOST_CALLS', most)
    found.append(jax.jit(jax.grad(lambda kernel: total(kernel)))(kernel))
  np.testing.assert_array_equal(*found)


@pytest.mark.parametrize('shape', [(4096, 32, 32, 8), (512, 224, 224, 8)])
def test_a_large_batch_is_no_reason_for_many_calls(shape):
  """Each is compiled by every process."""

  def loss(inputs, kernel):
    return depthwise.library_depthwise(inputs, kernel, (1, 1), ((1, 1), (1, 1))).sum()

  arrays = (jax.ShapeDtypeStruct(each, jnp.float32) for each in (shape, (3, 3, 1, 8)))
  text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(*arrays))
  assert 4 <= text.count('__onednn$') <= 80


@pytest.mark.thorough
def test_the_layer_calls_it_for_depthwise_convolutions():
  layer = Conv(4, feature_group_count=4)
  images = normal(2, 6, 6, 4)
  variables = layer.init(jax.random.key(0), images)
  expected = layer.apply(variables, images)
  one = dispatch.on_one_device(layer.apply)
  assert '__onednn$convolution' in program(one, variables, images)
  np.testing.assert_allclose(jax.jit(one)(variables, images), expected, atol=1e-5)


@needs_bfloat16
@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('channels', [(3, 8), pytest.param((6, 5), marks=pytest.mark.thorough)])
def test_bfloat16_rounds_what_float32_gives(channels, relu):
  """Sums are float32: of 70 images (more than are taken at once) no more than roundings is lost."""
  inputs, kernel, bias = (
    array.astype(jnp.bfloat16)
    for array in (normal(70, 9, 8, channels[0]), normal(3, 3, *channels), normal(channels[1]))
  )
  pads = ((1, 1), (1, 1))
  wide = [array.astype(jnp.float32) for array in (inputs, kernel, bias)]
  values, pull_back = jax.vjp(lambda *a: onednn.conv(*a, (1, 1), pads, relu), inputs, kernel, bias)
  expected, plain_pull_back = jax.vjp(lambda *a: plain(*a, (1, 1), pads, relu), *wide)
  cotangent = normal(*values.shape).astype(jnp.bfloat16)
  # Where ReLU decides by a rounded value, the gradient is a choice.
  cotangent = jnp.where(jnp.abs(expected) > 0.05, cotangent, 0)
  gradients = pull_back(cotangent)
  plain_gradients = plain_pull_back(cotangent.astype(jnp.float32))
  for actual, exact in zip((values, *gradients), (expected, *plain_gradients), strict=True):
    assert actual.dtype == jnp.bfloat16
    exact = np.asarray(exact)
    largest = np.abs(exact).max()
    np.testing.assert_allclose(actual.astype(jnp.float32), exact, rtol=0, atol=largest * 2**-7)


def test_what_is_not_finite_shows():
  """A loss that became NaN must not look healthy: the parameters, at least, become NaN as well."""
  inputs = jnp.ones((1, 4, 4, 2)).at[0, 1, 1, 0].set(jnp.nan)
  kernel = jnp.ones((1, 1, 2, 3))
  no_pads = ((0, 0), (0, 0))
  assert np.isnan(onednn.conv(inputs, kernel, None, (1, 1), no_pads, False)[0, 1, 1]).all()
  for relu in (False, True):
    _, pull_back = jax.vjp(lambda k: onednn.conv(inputs, k, None, (1, 1), no_pads, relu), kernel)  # noqa: B023
    (gradient,) = pull_back(jnp.ones((1, 4, 4, 3)))
    assert np.isnan(gradient[0, 0, 0]).all()


def test_the_gradient_of_relu_is_zero_at_zero():
  for dtype in (jnp.float32, jnp.bfloat16):
    outputs = jnp.array([0.0, -0.0, 1e-30, 2.0], dtype)
    gradient = jnp.array([1.0, 1.0, -3.0, jnp.inf], dtype)
    np.testing.assert_array_equal(
      onednn.where_positive(outputs, gradient).astype(jnp.float32), [0, 0, -3, np.inf]
    )


def program(function, *arguments):
  return jax.jit(function).lower(*arguments).compile().as_text()


def test_the_layer_calls_it_unless_it_is_switched_off(monkeypatch):
  layer = Conv(5, activation='relu')
  images = normal(2, 6, 6, 3)
  variables = layer.init(jax.random.key(0), images)
  monkeypatch.setenv('CIFAR_JAX_ONEDNN', 'off')
  expected = layer.apply(variables, images)
  assert '__onednn$convolution' not in program(layer.apply, variables, images)
  monkeypatch.setenv('CIFAR_JAX_ONEDNN', 'on')
  for apply in (layer.apply, dispatch.on_one_device(layer.apply)):
    assert '__onednn$convolution' in program(apply, variables, images)
    np.testing.assert_allclose(jax.jit(apply)(variables, images), expected, atol=1e-5)


def test_arithmetic_is_counted_although_calls_hide_it():
  """36 places, 3 x 3 x 3 values of the window, 5 filters."""

  class Network(nn.Module):
    @nn.compact
    def __call__(self, images, train):
      return Conv(5)(images)

  assert macs(Network(), (6, 6, 3)) == 36 * 27 * 5


@pytest.mark.parametrize(
  'dtype', ['float32', pytest.param('bfloat16', marks=[needs_bfloat16, pytest.mark.thorough])]
)
@pytest.mark.parametrize(('channels', 'size'), [(3, 6), (8, 6), (8, 14)])
def test_eight_devices_compute_their_rows_and_add_up_the_kernel_s_gradient(channels, size, dtype):
  """Each of 2 images of 16, not all of 16 each; the results are those of one device."""
  layer, images = Conv(5, activation='relu', dtype=dtype), normal(16, size, size, channels)
  text = assert_eight_devices_do_as_one(layer, images, dtype)
  calls = [line for line in text.splitlines() if '__onednn$convolution' in line]
  assert calls
  assert not any(f'[16,{size},{size},' in line for line in calls)


@pytest.fixture
def trials_of(monkeypatch):
  """The arguments of trials, all refused."""
  tried = []
  monkeypatch.setattr(
    dispatch.trials, 'objection', lambda *trial: tried.append(trial) or 'it fails'
  )
  monkeypatch.setattr(dispatch, 'objection_to_library', functools.cache(OBJECTION))
  return tried


@pytest.mark.thorough
@pytest.mark.parametrize('dtype', ['float32', pytest.param('bfloat16', marks=needs_bfloat16)])
def test_its_trial_finds_no_fault(dtype):
  """In the process that it starts, with what users compile by."""
  assert OBJECTION(dtype) == ''


def test_what_its_trial_refuses_is_not_called_and_one_line_says_so(trials_of, caplog):
  layer, images = Conv(5), normal(2, 6, 6, 3)
  variables = layer.init(jax.random.key(0), images)
  for _ in range(2):
    assert '__onednn$convolution' not in program(layer.apply, variables, images)
  assert caplog.messages == ['convolutions in float32 run without oneDNN, slowly: it fails']
  assert [name for name, _ in trials_of] == ['onednn_float32']


def test_nothing_is_tried_where_there_are_no_fast_kernels(trials_of, monkeypatch, caplog):
  monkeypatch.setattr(dispatch.processor, 'features', lambda: frozenset({'neon', 'avx2'}))
  assert not dispatch.has_library('bfloat16')
  assert not dispatch.has_library('int8')
  assert not trials_of
  assert not caplog.messages


@pytest.mark.parametrize('name', ['3x3 of few channels', 'depthwise'])
@pytest.mark.parametrize('wrong', [1.01, np.nan])
def test_the_self_test_notices_wrong_values(monkeypatch, name, wrong):
  shapes = {name: self_test._SHAPES[name]}
  monkeypatch.setattr(self_test, '_SHAPES', shapes)
  self_test.check('float32')
  bare = onednn.bare_conv
  monkeypatch.setattr(onednn, 'bare_conv', lambda *a, **options: wrong * bare(*a, **options))
  with pytest.raises(ArithmeticError, match=f'{name} in float32'):
    self_test.check('float32')


def test_nothing_but_what_it_was_made_for(monkeypatch):
  """Dilation, groups, padding beyond the window, other types and reference kernels."""
  monkeypatch.setattr(onednn, 'conv', None)
  inputs, kernel = normal(2, 6, 6, 4), normal(3, 3, 4, 6)

  @dispatch.on_one_device
  def convolve(inputs, kernel, padding='SAME', dilation=(1, 1), groups=1):
    return conv.conv(inputs, kernel, None, (1, 1), padding, dilation, groups, False)

  convolve(inputs, kernel, dilation=(2, 2))
  convolve(inputs, normal(3, 3, 2, 6), groups=2)
  convolve(inputs, kernel, ((3, 0), (0, 0)))
  convolve(inputs.astype(jnp.float16), kernel.astype(jnp.float16))
  with dispatch.reference_kernels():
    convolve(inputs, kernel)
