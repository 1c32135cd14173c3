"""Programs in parts compute what one program does, and only calls of oneDNN are compiled anew."""

import contextlib
import functools
import math
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.extend import core

from cifar_jax.devices import parts, sharding
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.ops import dispatch, onednn

pytestmark = pytest.mark.skipif(
  not dispatch.has_fast_kernels('float32'), reason='oneDNN is not used on this processor'
)
PADS = ((1, 1), (1, 1))
convolve = functools.partial(onednn.conv, strides=(1, 1), pads=PADS, relu=True)


def numbers(*shape: int) -> jax.Array:
  return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def update(keys, state, images, masked=False):
  """A step with two convolutions, an unused output, some given twice, one constant."""

  def loss(kernels):
    maps = convolve(images, kernels['first'], None)
    kept = jax.random.bernoulli(keys, 0.5, maps.shape)
    maps = convolve(jnp.where(kept, maps, 0), kernels['second'], None)
    return jnp.square(maps).mean() + (1.0 if masked else 0.0)

  value, gradients = jax.value_and_grad(loss)(state['kernels'])
  kernels = jax.tree.map(lambda kernel, slope: kernel - 0.1 * slope, state['kernels'], gradients)
  constants = {'frozen': state['frozen'], 'zero': jnp.zeros(2)}
  new = {'kernels': kernels, 'step': state['step'] + 1, **constants}
  return new, {'loss': value, 'step': new['step'], 'again': value}


def start():
  kernels = {'first': numbers(3, 3, 4, 8), 'second': numbers(3, 3, 8, 8)}
  return {'kernels': kernels, 'step': jnp.int32(3), 'frozen': numbers(5), 'zero': jnp.ones(2)}


@contextlib.contextmanager
def counting():
  """Counts compilations that asked the cache, and those that it served."""
  counts = dict.fromkeys(('compile_requests_use_cache', 'cache_hits'), 0)

  def count(event, **_):
    name = event.rpartition('/')[2]
    if name in counts:
      counts[name] += 1

  jax.monitoring.register_event_listener(count)
  try:
    yield counts
  finally:
    jax.monitoring.unregister_event_listener(count)


def test_the_same_as_one_program():
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  for masked in (False, True):
    expected = jax.jit(update, static_argnames='masked')(keys, start(), images, masked=masked)
    step = parts.InParts(update, donated='state', static='masked')
    found = step(keys, start(), images, masked=masked)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
      assert one.dtype == other.dtype


def test_constants_that_look_alike_are_told_apart():
  def products(images, kernel):
    total = convolve(images, kernel, None).sum()
    return total * 0.0012345678, total * 0.0012345701

  one, other = parts.InParts(products)(numbers(2, 4, 4, 4), numbers(3, 3, 4, 4))
  np.testing.assert_allclose(float(other) / float(one), 0.0012345701 / 0.0012345678, rtol=2e-7)


def test_each_call_gives_the_same_bits():
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  first, second = (parts.InParts(update, donated='state', static='masked') for _ in range(2))
  jax.tree.map(
    np.testing.assert_array_equal,
    *(step(keys, start(), images, masked=False) for step in (first, second)),
  )


def test_a_given_state_does_not_take_the_metrics_with_it():
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  step = parts.InParts(update, donated='state', static='masked')
  state = start()
  state, metrics = step(keys, state, images, masked=False)
  kept = metrics
  for _ in range(2):
    state, metrics = step(keys, state, images, masked=False)
  assert int(kept['step']) == 4
  assert int(state['step']) == int(metrics['step']) == 6
  assert float(kept['loss']) == float(kept['again']) > float(metrics['loss'])
  np.testing.assert_array_equal(state['zero'], [0, 0])


def test_given_memory_is_taken():
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  step, state = parts.InParts(update, donated='state', static='masked'), start()
  given = state['kernels']['first']
  step(keys, state, images, masked=False)
  assert given.is_deleted()
  assert not images.is_deleted()


def test_only_calls_of_onednn_are_compiled_anew(tmp_path):
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  folder = jax.config.jax_compilation_cache_dir
  try:
    jax.config.update('jax_compilation_cache_dir', str(tmp_path))
    compilation_cache.reset_cache()
    counted = []
    for _ in range(2):
      jax.clear_caches()
      step = parts.InParts(update, donated='state', static='masked')
      state = start()
      with counting() as counts:
        step(keys, state, images, masked=False)
      counted.append(counts)
  finally:
    jax.config.update('jax_compilation_cache_dir', folder)
    compilation_cache.reset_cache()
  cold, warm = counted
  # Two convolutions forward, the gradient by the second one's inputs, those by both kernels.
  assert cold['cache_hits'] == 0
  assert warm['compile_requests_use_cache'] == cold['compile_requests_use_cache']
  assert 3 <= warm['compile_requests_use_cache'] - warm['cache_hits'] <= 4
  assert warm['cache_hits'] >= 3
  names = {path.name.partition('-')[0] for path in tmp_path.iterdir()}
  assert 'jit_part' in names
  assert 'jit_library' not in names


def test_nothing_is_kept_of_calls_that_are_compiled_while_another_part_fails(monkeypatch):
  lower, seen = parts._Part.lower, []

  def failing(self, sharding, name):
    if not self.library:
      raise RuntimeError('a part that cannot be compiled')
    lowered = lower(self, sharding, name)
    compile_it = lowered.compile

    def slowly():
      time.sleep(0.2)
      seen.append(jax.config.jax_persistent_cache_min_compile_time_secs)
      return compile_it()

    return types.SimpleNamespace(compile=slowly)

  monkeypatch.setattr(parts._Part, 'lower', failing)
  before = jax.config.jax_persistent_cache_min_compile_time_secs
  step = parts.InParts(update, donated='state', static='masked')
  with pytest.raises(RuntimeError, match='cannot be compiled'):
    step(jax.random.key(0), start(), numbers(6, 5, 5, 4), masked=False)
  assert len(seen) >= 3
  assert set(seen) == {math.inf}
  assert jax.config.jax_persistent_cache_min_compile_time_secs == before


def test_without_calls_of_onednn_there_is_one_program():
  def plain(state, inputs):
    return jax.tree.map(lambda leaf: leaf + inputs.sum(), state)

  step = parts.InParts(plain, donated='state')
  state, inputs = {'a': numbers(3)}, numbers(4)
  expected = state['a'] + inputs.sum()
  with counting() as counts:
    np.testing.assert_array_equal(step(state, inputs)['a'], expected)
  assert counts['compile_requests_use_cache'] == 1
  assert state['a'].is_deleted()


def scaled(images, kernel, factor):
  return convolve(images, kernel, None).astype(jnp.bfloat16) * factor


def test_numbers_without_a_dtype_of_their_own_have_another_program():
  step = parts.InParts(scaled)
  for factor in (jnp.float32(2), jnp.asarray(2.0), jnp.float32(2)):
    arguments = numbers(2, 4, 4, 4), numbers(3, 3, 4, 4), factor
    assert step(*arguments).dtype == jax.jit(scaled)(*arguments).dtype


def test_results_are_where_the_arguments_are():
  step = parts.InParts(scaled)
  for device in jax.devices()[:2]:
    arguments = numbers(2, 4, 4, 4), jax.device_put(numbers(3, 3, 4, 4), device), jnp.float32(2)
    assert step(*arguments).devices() == {device}
  mesh = sharding.mesh_over(jax.devices()[:2])
  everywhere = jax.device_put(numbers(3, 3, 4, 4), sharding.replicated(mesh))
  assert step(numbers(2, 4, 4, 4), everywhere, jnp.float32(2)).devices() == set(mesh.devices.flat)


@pytest.mark.parametrize('missing', ['jaxprs_in_params', 'Literal', 'ClosedJaxpr'])
def test_a_jax_without_what_is_needed_gets_one_program(monkeypatch, caplog, missing):
  monkeypatch.delitem(sys.modules, 'cifar_jax.devices.division', raising=False)
  monkeypatch.delattr(core, missing)
  step = parts.InParts(update, donated='state', static='masked')
  keys, images = jax.random.key(0), numbers(6, 5, 5, 4)
  state, _ = step(keys, start(), images, masked=False)
  assert int(state['step']) == 4
  assert 'one program' in caplog.text
  monkeypatch.undo()
  expected, _ = jax.jit(update, static_argnames='masked')(keys, start(), images)
  jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_steps_on_one_device_are_in_parts():
  one, two = (sharding.mesh_over(jax.devices()[:count]) for count in (1, 2))
  assert isinstance(sharding.compile_step(lambda state: state, one), parts.InParts)
  assert not isinstance(sharding.compile_step(lambda state: state, two), parts.InParts)
  assert sharding.data_parallel(one) == DataParallel()
