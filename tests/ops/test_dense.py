"""Products of tokens by oneDNN against XLA's own, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.layers import Dense
from cifar_jax.ops import dispatch
from cifar_jax.ops.dense import dense, library_dense, reference_dense
from tests.helpers.kernels import (
  assert_eight_devices_do_as_one,
  assert_gradients,
  assert_same_function,
  normal,
)

pytestmark = pytest.mark.skipif(
  not dispatch.has_fast_kernels('float32'), reason='oneDNN has no kernels for this processor'
)
needs_bfloat16 = pytest.mark.skipif(
  not dispatch.has_fast_kernels('bfloat16'), reason='the processor has no products of bfloat16'
)


@pytest.fixture(autouse=True)
def switched_on(monkeypatch):
  monkeypatch.setenv('CIFAR_JAX_ONEDNN', 'on')


def calls(function, *arguments) -> int:
  return jax.jit(function).lower(*arguments).compile().as_text().count('"__onednn$matmul"')


@pytest.mark.parametrize('with_bias', [False, True])
@pytest.mark.parametrize('rows', [(3, 5), (2, 3, 4), (7,)])
def test_float32(rows, with_bias):
  inputs, kernel = normal(*rows, 6), normal(6, 9)
  arguments = (inputs, kernel, normal(9)) if with_bias else (inputs, kernel)

  def form(inputs, kernel, bias=None):
    return library_dense(inputs, kernel, bias)

  assert_same_function(form, lambda x, k, b=None: reference_dense(x, k, b), *arguments)
  assert_gradients(form, *arguments, step=0.5)


@needs_bfloat16
def test_bfloat16_rounds_what_float32_gives():
  arguments = [a.astype(jnp.bfloat16) for a in (normal(70, 9, 12), normal(12, 20), normal(20))]
  cotangent = normal(70, 9, 20).astype(jnp.bfloat16)
  values, pull_back = jax.vjp(library_dense, *arguments)
  expected, plain_pull_back = jax.vjp(reference_dense, *(a.astype(jnp.float32) for a in arguments))
  exact = (expected, *plain_pull_back(cotangent.astype(jnp.float32)))
  for actual, wanted in zip((values, *pull_back(cotangent)), exact, strict=True):
    assert actual.dtype == jnp.bfloat16
    largest = np.abs(wanted).max()
    np.testing.assert_allclose(actual.astype(jnp.float32), wanted, rtol=0, atol=largest * 2**-7)


def test_the_layer_calls_it_for_tokens_alone(monkeypatch):
  layer, tokens = Dense(5), normal(2, 6, 3)
  variables = layer.init(jax.random.key(0), tokens)
  apply = dispatch.on_one_device(layer.apply)
  assert calls(apply, variables, tokens) == 1
  assert calls(apply, variables, tokens[0]) == 0
  assert calls(lambda x, k: dense(x, k, None), tokens.astype(jnp.float16), jnp.ones((3, 5))) == 0
  monkeypatch.setenv('CIFAR_JAX_ONEDNN', 'off')
  assert calls(dispatch.on_one_device(layer.apply), variables, tokens) == 0


@pytest.mark.parametrize('dtype', ['float32', pytest.param('bfloat16', marks=needs_bfloat16)])
def test_eight_devices_compute_their_rows_and_add_up_the_kernel_s_gradient(dtype):
  """Each of 2 rows of 16; the results are those of one device."""
  text = assert_eight_devices_do_as_one(Dense(5, dtype=dtype), normal(16, 7, 3), dtype)
  lines = [line for line in text.splitlines() if '"__onednn$matmul"' in line]
  assert len(lines) == 3
  assert not any('[112,' in line for line in lines)
