import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax import models
from cifar_jax.models.conv_net import ConvNet
from cifar_jax.utils.errors import UserError

BLOCK = ('conv3', 'max_pool', 'batch_norm', 'dropout 0.25')


def init(net: ConvNet, shape=(1, 8, 8, 3)):
  return jax.jit(lambda key: net.init(key, jnp.zeros(shape), train=False))(jax.random.key(0))


def test_three_more_blocks_wider_is_one_field():
  net = ConvNet(10, widths=(4, 8, 16, 32, 64), block=('conv3', 'max_pool'))
  shapes = jax.eval_shape(lambda: init(net, (1, 32, 32, 3)))['params']
  assert [shapes[f'Conv_{i}']['kernel'].shape[-1] for i in range(5)] == [4, 8, 16, 32, 64]
  assert shapes['logits']['kernel'].shape == (64, 10)


def test_forward_pass_by_hand():
  """conv1 (2 filters) -> relu -> flatten -> logits on two pixels."""
  net = ConvNet(1, widths=(2,), block=('conv1',))
  variables = {
    'params': {
      'Conv_0': {'kernel': jnp.array([[[[1.0, -1.0]]]]), 'bias': jnp.array([0.5, 0.0])},
      'logits': {'kernel': jnp.array([[1.0], [10.0], [100.0], [1000.0]]), 'bias': jnp.array([7.0])},
    }
  }
  images = jnp.array([[[[2.0], [-3.0]]]])
  # Pixel 2: relu(2.5), relu(-2); pixel -3: relu(-2.5), relu(3).
  np.testing.assert_allclose(net.apply(variables, images, train=False), [[2.5 + 3000 + 7]])


def test_bfloat16_computes_but_does_not_store():
  net = ConvNet(10, (4, 8), BLOCK, ('flatten', 'dense 16'), dtype=jnp.bfloat16)
  variables = jax.jit(init, static_argnums=0)(net)
  assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  logits, changed = jax.eval_shape(
    lambda key: net.apply(
      variables,
      jnp.ones((2, 8, 8, 3)),
      train=True,
      rngs={'dropout': key},
      mutable=['batch_stats'],
    ),
    jax.random.key(1),
  )
  assert logits.dtype == jnp.float32
  assert {a.dtype for a in jax.tree.leaves(changed)} == {jnp.dtype('float32')}
  text = str(
    jax.make_jaxpr(lambda v, x: net.apply(v, x, train=False))(variables, jnp.ones((2, 8, 8, 3)))
  )
  products = [line for line in text.splitlines() if 'conv_general' in line or 'dot_general' in line]
  assert len(products) == 4
  assert all('bf16' in line.split('=')[0] for line in products)


def test_float32_and_bfloat16_agree():
  fields = {'widths': (4, 8), 'block': BLOCK, 'head': ('global_average_pool',)}
  variables = init(ConvNet(10, **fields))
  images = jax.random.uniform(jax.random.key(2), (4, 8, 8, 3))
  exact, rough = (
    jax.jit(functools.partial(ConvNet(10, dtype=dtype, **fields).apply, train=False))(
      variables, images
    )
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  assert not np.array_equal(exact, rough)
  np.testing.assert_allclose(rough, exact, atol=0.02)


def test_masked_rows_change_nothing():
  net = ConvNet(10, (4,), ('conv3', 'batch_norm'))
  variables = init(net)
  images = jax.random.uniform(jax.random.key(3), (4, 8, 8, 3))
  mask = jnp.array([True, True, True, False])

  @jax.jit
  def run(images, mask):
    return net.apply(variables, images, train=True, mask=mask, mutable=['batch_stats'])

  logits, changed = run(images.at[3].set(jnp.nan), mask)
  expected_logits, expected_changed = run(images[:3], None)
  np.testing.assert_allclose(logits[:3], expected_logits, rtol=1e-5, atol=1e-6)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), changed, expected_changed
  )


def test_dropout_only_in_training():
  net = ConvNet(10, head=('flatten', 'dropout 0.5'))
  variables = init(net)
  images = jnp.ones((2, 8, 8, 3))

  @functools.partial(jax.jit, static_argnums=0)
  def run(train, seed):
    return net.apply(variables, images, train=train, rngs={'dropout': jax.random.key(seed)})

  assert np.array_equal(run(False, 0), run(False, 1))
  assert not np.array_equal(run(True, 0), run(True, 1))
  assert np.array_equal(run(True, 0), run(True, 0))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'widths': (4, 8)}, '--config.model.block is empty'),
    ({'widths': (4, 0), 'block': ('conv3',)}, '--config.model.widths: 0 must be'),
    ({'widths': (4, 2.5), 'block': ('conv3',)}, '--config.model.widths: 2.5 must be'),
    ({'widths': 4, 'block': ('conv3',)}, '--config.model.widths must be a tuple'),
    ({'widths': (4,), 'block': 'conv3'}, '--config.model.block must be a tuple'),
    ({'widths': (4,), 'block': ('conv3', 'maxpool')}, "did you mean 'max_pool'"),
    ({'widths': (4,), 'block': ('conv3', 'dense 3')}, 'belongs into --config.model.head'),
    ({'widths': (4, 8), 'block': (('conv3',),) * 3}, 'describes 3 blocks, but'),
    ({'widths': (4, 8), 'block': (('conv3',), 'conv3')}, '--config.model.block must be a tuple'),
    ({'widths': (5,), 'block': ('conv3 x0.5',)}, 'would have 2.5 filters'),
    ({'head': ('flatten', 'conv3')}, 'belongs into --config.model.block'),
    ({'head': ('flatten', 'dnse 3')}, '--config.model.head'),
    ({'activation': 'rellu'}, "--config.model.activation: no activation is called 'rellu'"),
  ],
)
def test_mistakes_are_found_when_the_network_is_made(fields: dict, message: str):
  with pytest.raises(UserError, match=re.escape(message)):
    models.create({'name': 'conv_net', **fields}, 10)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'widths': (4,) * 4, 'block': ('conv3', 'max_pool')},
      "block: block 4 of 4, 'max_pool': a 2x2 max-pool does not fit into a map of 1x1",
    ),
    (
      {'widths': (4,) * 2, 'block': ('conv5 valid',) * 2},
      "block 1 of 2, 'conv5 valid': a 5x5 convolution does not fit into a map of 4x4",
    ),
    (
      {'widths': (4,), 'block': ('conv3 valid dilation=4',)},
      'a 9x9 convolution does not fit into a map of 8x8',
    ),
    ({'widths': (4,), 'block': ('conv3',), 'head': ()}, "add 'flatten' or 'global_average_pool'"),
    ({'head': ('dense 3',)}, "put 'flatten' or 'global_average_pool' before it"),
    ({'head': ('flatten', 'global_average_pool')}, 'vectors already'),
  ],
)
def test_networks_that_do_not_fit_the_images(fields: dict, message: str):
  with pytest.raises(UserError, match=re.escape(message)):
    init(models.create({'name': 'conv_net', **fields}, 10))


some_words = st.sampled_from(
  ['conv3', 'conv3 valid', 'conv5 valid stride=3', 'max_pool', 'avg_pool 3 same', 'batch_norm']
  + ['relu', 'dropout 0.5', 'conv1 x2', 'conv1 x0.3', 'dense 4', 'flatten', 'nonsense']
)


@settings(max_examples=40, deadline=None)
@given(
  widths=st.lists(st.integers(0, 5), max_size=4),
  block=st.lists(some_words, max_size=4) | st.lists(st.lists(some_words, max_size=3), max_size=3),
  head=st.lists(some_words | st.just('global_average_pool'), max_size=3),
  size=st.integers(1, 9),
)
def test_any_network_either_works_or_explains_itself(widths, block, head, size):
  """No map is ever empty, and no error comes from inside of XLA."""
  fields = {'name': 'conv_net', 'widths': widths, 'block': block, 'head': head}
  images = jnp.zeros((2, size, size, 1))
  try:
    net = models.create(fields, 3)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
  except UserError as error:
    message = str(error)
  else:
    assert all(min(leaf.shape) > 0 for leaf in jax.tree.leaves(shapes))
    return
  assert '--config.model.' in message
