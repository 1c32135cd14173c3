"""Blocks of the families against the same blocks of PyTorch, with the same parameters."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import models
from cifar_jax.models.densenet import DenseLayer
from cifar_jax.models.patches import Attention
from cifar_jax.models.preact_resnet import PreActivationBlock
from cifar_jax.models.resnet import ResidualBlock

torch = pytest.importorskip('torch')
functional = torch.nn.functional


def drawn(module: nn.Module, *arguments: Any) -> dict[str, Any]:
  """Variables of a module, every array random, variances positive."""
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
  generator = np.random.default_rng(0)

  def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    values = 0.3 * generator.standard_normal(leaf.shape)
    positive = path[-1].key in ('var', 'scale')
    return jnp.asarray(np.abs(values) + 0.5 if positive else values, jnp.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def tensor(array: Any) -> Any:
  return torch.tensor(np.asarray(array))


def conv(values: Any, params: Any, stride: int = 1, groups: int = 1) -> Any:
  kernel = tensor(params['Conv_0']['kernel'] if 'Conv_0' in params else params['kernel'])
  padding = kernel.shape[0] // 2
  kernel = kernel.permute(3, 2, 0, 1)
  return functional.conv2d(values, kernel, None, stride, padding, 1, groups)


def norm(values: Any, params: Any, stats: Any) -> Any:
  scale, bias = tensor(params['BatchNorm_0']['scale']), tensor(params['BatchNorm_0']['bias'])
  mean, var = tensor(stats['BatchNorm_0']['mean']), tensor(stats['BatchNorm_0']['var'])
  return functional.batch_norm(values, mean, var, scale, bias, False, 0.1, 1e-5)


def conv_norm(values: Any, variables: Any, number: int, stride: int = 1, groups: int = 1) -> Any:
  params = variables['params'][f'ConvNorm_{number}']
  stats = variables['batch_stats'][f'ConvNorm_{number}']
  return norm(conv(values, params, stride, groups), params, stats)


def images(channels: int) -> np.ndarray:
  values = np.random.default_rng(1).standard_normal((2, 6, 6, channels))
  return values.astype(np.float32)


def check(module: nn.Module, variables: Any, inputs: np.ndarray, expected: Any) -> None:
  found = module.apply(variables, jnp.asarray(inputs), False, None)
  np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-4)


def test_basic_block_that_halves_the_maps_and_pads_channels():
  block = ResidualBlock(8, 2, 'basic', 'pad', 1, 64, 0, jnp.float32, None)
  inputs = images(4)
  variables = drawn(block, jnp.asarray(inputs), False, None)
  values = tensor(inputs).permute(0, 3, 1, 2)
  branch = functional.relu(conv_norm(values, variables, 0, stride=2))
  branch = conv_norm(branch, variables, 1)
  shortcut = functional.pad(values[:, :, ::2, ::2], (0, 0, 0, 0, 0, 4))
  check(block, variables, inputs, functional.relu(shortcut + branch))


def test_grouped_bottleneck_with_squeeze_and_excitation():
  block = ResidualBlock(4, 2, 'bottleneck', 'project', 2, 32, 4, jnp.float32, None)
  inputs = images(8)
  variables = drawn(block, jnp.asarray(inputs), False, None)
  assert variables['params']['ConvNorm_1']['Conv_0']['kernel'].shape == (3, 3, 2, 4)
  values = tensor(inputs).permute(0, 3, 1, 2)
  branch = functional.relu(conv_norm(values, variables, 0))
  branch = functional.relu(conv_norm(branch, variables, 1, stride=2, groups=2))
  branch = conv_norm(branch, variables, 2)
  gates = branch.mean((2, 3))
  for number, activation in enumerate((functional.relu, torch.sigmoid)):
    dense = variables['params']['SqueezeExcite_0'][f'Dense_{number}']
    gates = activation(gates @ tensor(dense['kernel']) + tensor(dense['bias']))
  shortcut = conv_norm(values, variables, 3, stride=2)
  check(block, variables, inputs, functional.relu(shortcut + branch * gates[:, :, None, None]))


def test_pre_activation_block_projects_what_is_activated():
  block = PreActivationBlock(8, 2, 'basic', 0.0, jnp.float32, None)
  inputs = images(4)
  variables = drawn(block, jnp.asarray(inputs), False, None)
  params, stats = variables['params'], variables['batch_stats']
  values = tensor(inputs).permute(0, 3, 1, 2)

  def activate(values: Any, number: int) -> Any:
    name = f'NormActivation_{number}'
    return functional.relu(norm(values, params[name], stats[name]))

  active = activate(values, 0)
  shortcut = conv(active, params['Conv_0'], stride=2)
  branch = activate(conv(active, params['Conv_1'], stride=2), 1)
  check(block, variables, inputs, shortcut + conv(branch, params['Conv_2']))


def test_attention_is_that_of_pytorch():
  attention = Attention(3, jnp.float32)
  tokens = np.random.default_rng(2).standard_normal((2, 5, 12)).astype(np.float32)
  variables = drawn(attention, jnp.asarray(tokens))
  params = variables['params']
  other = torch.nn.MultiheadAttention(12, 3, batch_first=True)
  names = ('query', 'key', 'value')
  with torch.no_grad():
    other.in_proj_weight.copy_(torch.cat([tensor(params[n]['kernel']).T for n in names]))
    other.in_proj_bias.copy_(torch.cat([tensor(params[n]['bias']) for n in names]))
    other.out_proj.weight.copy_(tensor(params['out']['kernel']).T)
    other.out_proj.bias.copy_(tensor(params['out']['bias']))
    expected, _ = other(*[tensor(tokens)] * 3)
  found = attention.apply(variables, jnp.asarray(tokens))
  np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_rematerialised_densenet_has_the_same_parameters():
  fields = {'name': 'densenet', 'depth': 10, 'growth': 2, 'bottleneck': True, 'dropout': 0.2}
  inputs = jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.float32)
  programs = []
  for remat in (False, True):
    network = models.create(fields | {'remat': remat}, 3)
    variables = jax.eval_shape(lambda x, n=network: n.init(jax.random.key(0), x, False), inputs)
    run = jax.make_jaxpr(lambda v, x, n=network: n.apply(v, x, False))
    programs.append((jax.tree.structure(variables), str(run(variables, inputs))))
  (plain, plain_text), (again, again_text) = programs
  assert plain == again
  assert 'remat' in again_text
  assert 'remat' not in plain_text


def test_rematerialised_layer_has_the_same_values_and_gradients():
  """Its random numbers and running statistics included."""
  inputs = jnp.asarray(images(3)[:, :4, :4])
  fields = (2, False, 0.5, jnp.float32, None)
  variables = drawn(DenseLayer(*fields), inputs, False, None)

  def loss(params: Any, layer: Any) -> Any:
    maps, changed = layer(*fields).apply(
      variables | {'params': params},
      inputs,
      True,
      None,
      rngs={'dropout': jax.random.key(0)},
      mutable=['batch_stats'],
    )
    return jnp.sum(jnp.square(maps)), changed

  run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  plain = run(variables['params'], DenseLayer)
  again = run(variables['params'], nn.remat(DenseLayer, static_argnums=(2,)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, again)
  assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(plain[0]))
