"""State dicts of PyTorch: ours, those of libraries by their names, and others in order."""

import pathlib

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.config import get_config
from cifar_jax.exchange import imports, torch_order
from cifar_jax.exchange.layer_calls import layer_calls
from cifar_jax.exchange.torch_families import known
from cifar_jax.exchange.torch_names import layers_of
from cifar_jax.utils.errors import UserError
from tests.helpers import published_names
from tests.helpers.tiny_network import write_safetensors

PUBLISHED = published_names.load()
# Our networks with the weights of which the libraries computed the logits.
NETWORKS = {
  'timm resnet for small images': {
    **{'name': 'resnet', 'depth': 10, 'widths': (64, 8, 8, 12), 'shortcut': 'project'},
  },
  'timm convnext': {
    **{'name': 'convnext', 'depths': (1, 1, 2, 1), 'widths': (8, 10, 12, 16), 'patch': 4},
  },
  'timm vit': {'name': 'vit', 'width': 12, 'depth': 2},
  'timm mixer': {'name': 'mixer', 'width': 12, 'depth': 2, 'token_units': 6, 'channel_units': 24},
  'torchvision convnext': {'name': 'convnext', 'depths': (1, 2), 'widths': (8, 12), 'patch': 4},
  'torchvision vit': {'name': 'vit', 'width': 12, 'depth': 2},
  'transformers resnet': {'name': 'pretrained', 'network': 'resnet18'},
  'transformers convnext': {'name': 'convnext', 'depths': (1, 2), 'widths': (8, 12), 'patch': 4},
  'transformers 5 vit': {'name': 'vit', 'width': 12, 'depth': 2},
  'torchvision mobilenet_v2 for small images': {'name': 'mobilenet_v2', 'width': 0.1},
  'torchvision resnet18': {'name': 'pretrained', 'network': 'resnet18'},
  'timm tf_efficientnet_lite0': {'name': 'pretrained', 'network': 'efficientnet_lite0'},
  'torchvision vgg11_bn': {'name': 'vgg', 'depth': 11},
}
DAILY = ('timm resnet for small images', 'timm vit', 'timm mixer', 'torchvision convnext')


def target(model: dict, size: int, classes: int = 5, epsilon: float | None = None):
  config = get_config()
  config.model = ConfigDict(model)
  return imports.make_target(config, ['a', 'b', 'c', 'd', 'e'][:classes], (size, size, 3), epsilon)


def published(title: str, folder: pathlib.Path) -> pathlib.Path:
  """A file in the order of names, as the library of .safetensors writes them."""
  shapes = sorted(PUBLISHED[title]['tensors'].items())
  tensors = {name: published_names.values(name, shape) for name, shape in shapes}
  return write_safetensors(folder / 'published.safetensors', tensors)


@pytest.mark.parametrize(
  'title',
  [
    pytest.param(title, marks=[] if title in DAILY else [pytest.mark.thorough])
    for title in NETWORKS
  ],
)
def test_every_tensor_of_a_library_has_a_place(title, tmp_path) -> None:
  found = PUBLISHED[title]
  made = target(NETWORKS[title], found['size'])
  variables = imports.read(published(title, tmp_path), made).variables
  shapes = {path: leaf.shape for path, leaf in flatten_dict(dict(made.shapes)).items()}
  assert {path: leaf.shape for path, leaf in flatten_dict(variables).items()} == shapes


@pytest.mark.thorough
@pytest.mark.parametrize('title', NETWORKS)
def test_logits_of_libraries(title, tmp_path) -> None:
  found = PUBLISHED[title]
  made = target(NETWORKS[title], found['size'])
  variables = imports.read(published(title, tmp_path), made).variables
  images = published_names.images(found['size'])
  logits = jax.jit(lambda v, x: models.apply(made.module, v, x, train=False))(variables, images)
  expected = np.array(found['logits'])
  # transformers' LayerNorm adds 1e-12 to variances, ours 1e-6.
  tolerance = 3e-4 if title == 'transformers 5 vit' else 1e-5
  np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
  ('model', 'name', 'shape', 'said'),
  [
    (
      {'shortcut': 'project'},
      'conv1.weight',
      (64, 3, 7, 7),
      r'7x7 .* is --config\.model\.name=pret',
    ),
    ({}, 'conv1.weight', (64, 3, 3, 3), r'set --config\.model\.shortcut=project'),
    ({'shortcut': 'project'}, 'neck.weight', (3,), 'there is no place for neck.weight'),
    ({'shortcut': 'project', 'depth': 18}, 'fc.bias', (5,), 'it lacks stage0_block1.ConvNorm_0'),
    ({}, 'fc_norm.weight', (3,), 'classifies the mean of its tokens'),
    ({}, 'stages.0.blocks.0.mlp.grn.weight', (3,), 'V2, whose blocks have a global response norm'),
  ],
)
def test_what_differs_is_said(model, name, shape, said, tmp_path) -> None:
  tensors = PUBLISHED['timm resnet for small images']['tensors']
  path = write_safetensors(
    tmp_path / 'a.safetensors',
    {n: published_names.values(n, s) for n, s in {**tensors, name: shape}.items()},
  )
  made = target({'name': 'resnet', 'depth': 10, 'widths': (64, 8, 8, 12), **model}, 16)
  with pytest.raises(UserError, match=said) as error:
    imports.read(path, made)
  assert str(path) in str(error.value)


# Two convolutions of 4 filters, one BatchNorm, a dense layer on maps of 4x4.
SMALL = {
  **{'name': 'conv_net', 'widths': (4,), 'head': ('flatten',)},
  'block': ('conv3', 'conv3 linear', 'batch_norm', 'relu', 'max_pool'),
}


def by_hand() -> dict[str, np.ndarray]:
  """`SMALL` as nn.Sequential would have it."""
  draw = np.random.default_rng(0).normal
  shapes = {
    **{'0.weight': (4, 3, 3, 3), '0.bias': (4,), '2.weight': (4, 4, 3, 3), '3.weight': (4,)},
    **{'3.bias': (4,), '3.running_mean': (4,), '7.weight': (5, 64), '7.bias': (5,)},
  }
  tensors = {name: draw(size=shape).astype(np.float32) for name, shape in shapes.items()}
  return {
    **tensors,
    '3.running_var': np.full(4, 2, np.float32),
    '3.num_batches_tracked': np.int64(1),
  }


def test_what_shortcuts_without_parameters_do_is_not_known(tmp_path) -> None:
  tensors = PUBLISHED['timm resnet for small images']['tensors']
  plain = {n: published_names.values(n, s) for n, s in tensors.items() if 'downsample' not in n}
  path = write_safetensors(tmp_path / 'a.safetensors', plain)
  made = target({'name': 'resnet', 'depth': 10, 'widths': (64, 8, 8, 12)}, 16)
  assert any('zeros after the channels' in remark for remark in imports.read(path, made).remarks)


def read(tensors: dict, folder: pathlib.Path, **options) -> imports.Imported:
  path = write_safetensors(folder / 'hand.safetensors', tensors)
  return imports.read(path, target(SMALL, 8, **options))


def test_layers_of_a_network_written_by_hand_are_matched_in_order(tmp_path) -> None:
  theirs = by_hand()
  found = read(theirs, tmp_path)
  params, stats = found.variables['params'], found.variables['batch_stats']
  for number, name in enumerate(('0', '2')):
    kernel = theirs[f'{name}.weight'].transpose(2, 3, 1, 0)
    assert np.array_equal(params[f'Conv_{number}']['kernel'], kernel)
  assert np.array_equal(params['Conv_1']['bias'], np.zeros(4))  # there is none before BatchNorm
  assert np.array_equal(params['BatchNorm_0']['scale'], theirs['3.weight'])
  assert np.array_equal(stats['BatchNorm_0']['mean'], theirs['3.running_mean'])
  # What BatchNorm divides by is the root of 2 + 1e-5 in PyTorch, and of var + 1e-3 here.
  np.testing.assert_allclose(stats['BatchNorm_0']['var'] + 1e-3, 2 + 1e-5, rtol=1e-7)
  kernel = params['logits']['kernel'].reshape(4, 4, 4, 5)  # row, column, channel, class
  for channel, row, column in ((0, 0, 1), (3, 2, 1), (1, 3, 3)):
    there = theirs['7.weight'][:, channel * 16 + row * 4 + column]
    assert np.array_equal(kernel[row, column, channel], there)
  assert any('matched in order' in remark for remark in found.remarks)
  assert any('1e-05' in remark for remark in found.remarks)


def test_the_epsilon_of_the_other_program_can_be_given(tmp_path) -> None:
  var = read(by_hand(), tmp_path, epsilon=1e-3).variables['batch_stats']['BatchNorm_0']['var']
  assert np.array_equal(var, np.full(4, 2, np.float32))
  layers = {'0': 'Conv_0', '2': 'Conv_1', '3': 'BatchNorm_0', '7': 'logits'}
  ours = {f'{layers[n[0]]}{n[1:]}': array for n, array in by_hand().items()}
  var = read(ours, tmp_path, epsilon=0.251).variables['batch_stats']['BatchNorm_0']['var']
  np.testing.assert_allclose(var, np.full(4, 2.25), rtol=1e-6)


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'7.weight': (100, 64)}, r'7 is \[100, 64\] where this one has \[5, 64\] \(logits\)'),
    ({'7.weight': (5, 100)}, r'7 is \[5, 100\] where'),
    ({'9.weight': (5, 5)}, 'it has 2 dense layers, and this one has 1'),
    ({'0.weight': (4, 3, 3)}, r'0 with weight, bias is no convolution'),
    ({'attention.in_proj_weight': (12, 4)}, 'attention.in_proj_weight is no tensor'),
  ],
)
def test_another_network_is_told_by_its_layer(change, said, tmp_path) -> None:
  extra = {name: np.zeros(shape, np.float32) for name, shape in change.items()}
  with pytest.raises(UserError, match=said):
    read({**by_hand(), **extra}, tmp_path)


@pytest.mark.parametrize(
  ('title', 'name', 'shape'),
  [
    ('timm vit', 'blocks.0.attn.qkv.bias', ()),
    ('timm tf_efficientnet_lite0', 'blocks.0.0.bn.bias', (3,)),
  ],
)
def test_shapes_and_names_that_no_library_writes_stay(title, name, shape) -> None:
  module = models.create(ConfigDict(NETWORKS[title]), 5)
  family = known.find(module, {n: np.zeros(s) for n, s in PUBLISHED[title]['tensors'].items()})
  assert family is not None
  assert family.rename(module, {name: np.zeros(shape)}).keys() == {name}


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_numbers_that_are_not_finite(bad, tmp_path) -> None:
  with pytest.raises(UserError, match=r'2\.weight has numbers that are not finite'):
    read({**by_hand(), '2.weight': np.full((4, 4, 3, 3), bad, np.float32)}, tmp_path)


def test_whole_numbers_are_no_weights(tmp_path) -> None:
  with pytest.raises(UserError, match='not quantized'):
    read({**by_hand(), '7.bias': np.zeros(5, int)}, tmp_path)


def layers(model: dict, size: int = 8):
  made = target(model, size)
  return layers_of(layer_calls(made.module, made.image_shape), made.shapes)


TWICE = {**SMALL, 'block': ('conv3', 'conv3', 'conv3')}  # two convolutions of one shape


def test_names_in_another_order_than_the_layers_are_not_guessed() -> None:
  tensors = {
    **{'stem.weight': np.zeros((4, 3, 3, 3)), 'head.weight': np.zeros((5, 256))},
    **{'encoder.weight': np.zeros((4, 4, 3, 3)), 'body.weight': np.ones((4, 4, 3, 3))},
  }
  path = pathlib.Path('net')
  with pytest.raises(UserError, match=r'convolutions of the same shape .* save .* as \.pth'):
    torch_order.match(path, tensors, layers(TWICE), is_sorted=True)
  found, _ = torch_order.match(path, tensors, layers(TWICE), is_sorted=False)
  assert np.array_equal(found['Conv_2.weight'], np.ones((4, 4, 3, 3)))


def test_layer_10_comes_after_layer_9() -> None:
  tensors = {'0.weight': np.zeros((4, 3, 3, 3)), '20.weight': np.zeros((5, 256))}
  tensors |= {f'{n}.weight': np.full((4, 4, 3, 3), n) for n in (10, 9)}
  found, _ = torch_order.match(pathlib.Path('net'), tensors, layers(TWICE), is_sorted=True)
  assert [found[f'Conv_{n}.weight'].max() for n in (1, 2)] == [9, 10]


def test_a_bias_before_batch_norm_goes_into_its_mean() -> None:
  model = {'name': 'resnet', 'depth': 4, 'widths': (8,)}
  ours = layers(model)
  tensors = {tensor.name: np.ones(tensor.shape) for la in ours for tensor in la.tensors.values()}
  tensors['stem.Conv_0.bias'] = np.arange(8.0)
  found, remarks = torch_order.match(pathlib.Path('net'), tensors, ours, is_sorted=False)
  # What (x + bias - mean) is with a bias is (x - (mean - bias)) without.
  assert np.array_equal(found['stem.BatchNorm_0.running_mean'], 1 - np.arange(8.0))
  assert any('1 convolutions have a bias' in remark for remark in remarks)
  tensors['stem.Conv_0.bias'] = np.arange(5.0)
  with pytest.raises(UserError, match=r'stem\.Conv_0 has a bias, and stem/Conv_0 has none'):
    torch_order.match(pathlib.Path('net'), tensors, ours, is_sorted=False)


def test_shortcuts_are_told_from_branches_by_their_names() -> None:
  """In preact_resnet the shortcut is applied before the branch, and others define it after."""
  model = {'name': 'preact_resnet', 'depth': 5, 'widths': (8,), 'block': 'bottleneck'}
  names = (
    *('conv1 0 8 3 3', 'b.bn1 8', 'b.conv1 1 8 8 1', 'b.bn2 8', 'b.conv2 2 8 8 3', 'b.bn3 8'),
    *('b.conv3 3 32 8 1', 'b.shortcut.0 4 32 8 1', 'bn 32'),
  )
  tensors = {}
  for entry in names:
    name, *numbers = entry.split()
    if len(numbers) == 1:
      parts = ('weight', 'bias', 'running_mean', 'running_var')
      tensors |= {f'{name}.{part}': np.ones(int(numbers[0])) for part in parts}
    else:
      mark, outputs, inputs, window = map(int, numbers)
      inputs = 3 if name == 'conv1' else inputs
      tensors[f'{name}.weight'] = np.full((outputs, inputs, window, window), mark)
  tensors |= {'linear.weight': np.ones((5, 32)), 'linear.bias': np.ones(5)}
  found, _ = torch_order.match(pathlib.Path('net'), tensors, layers(model), is_sorted=False)
  block = 'stage0_block0.Conv_{}.weight'
  assert [found[block.format(number)].max() for number in range(4)] == [4, 1, 2, 3]


class Own(nn.Module):
  """A network of the user's with a parameter of its own."""

  num_classes: int

  @nn.compact
  def __call__(self, images, train):
    return images.mean((1, 2)) @ self.param('matrix', nn.initializers.ones_init(), (3, 5))


def test_a_parameter_of_no_layer_is_found_by_its_name_alone(tmp_path) -> None:
  model = {'name': f'{__name__}:Own'}
  path = write_safetensors(tmp_path / 'a.safetensors', {'other.weight': np.ones((5, 3), 'f')})
  with pytest.raises(UserError, match='matrix can be found by its name alone'):
    imports.read(path, target(model, 8))
  path = write_safetensors(tmp_path / 'a.safetensors', {'matrix': np.ones((3, 5), 'f')})
  assert imports.read(path, target(model, 8)).variables['params']['matrix'].shape == (3, 5)
