"""The networks of the articles against their printed counts and listings, and plain Flax."""

import importlib
import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cifar_jax import models
from cifar_jax.analysis import layer_table, tracing

LISTINGS = pathlib.Path(__file__).parents[1] / 'fixtures' / 'ascii'

# Not a config yet, because its photographs have no source: D3, "Understanding Deep Convolutional
# Neural Networks with a practical use-case in Tensorflow and Keras" (Ahmed Besbes, 2017)
CATSDOGS = {
  'name': 'conv_net',
  'widths': (32, 32, 64),
  'block': ('conv3', 'max_pool'),
  'head': ('dropout 0.25', 'flatten', 'dense 64', 'dropout 0.5'),
}
# Trainable and other parameters; Keras prints their sum.
COUNTS = {
  'lr': (30_730, 0),
  'mlp': (411_146, 0),
  'cnn_simple': (42_442, 0),
  'cnn_adv': (642_538, 448),
  'cnn_fchollet': (1_250_858, 0),
  'cnn_pkaur': (1_172_410, 0),
  'tutorial_4layer': (1_250_858, 0),
  'tutorial_6layer': (2_395_434, 0),
  'episode2': (257_978, 0),
  'episode2_as_printed': (113_738, 0),
  'lenet5': (61_706, 0),
  'catsdogs_scratch': (1_355_938, 0),
  'p5_dcnn': (236_266, 0),
  'p5_8140': (293_002, 0),
}


def build(name: str) -> nn.Module:
  if name == 'catsdogs_scratch':
    return models.create(CATSDOGS, 2)
  return models.create(importlib.import_module(f'configs.{name}').get_config().model, 10)


def shape_of(name: str) -> tuple[int, int, int]:
  if name == 'catsdogs_scratch':
    return (150, 150, 3)
  return (32, 32, importlib.import_module(f'configs.{name}').get_config().data.channels or 3)


def records_of(name: str) -> tuple[tracing.LayerRecord, ...]:
  return tracing.trace(build(name), shape_of(name))


def variables_of(module: nn.Module, shape: tuple[int, ...]) -> Any:
  images = jnp.zeros((1, *shape))
  return jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))


@pytest.mark.parametrize('name', COUNTS)
def test_listing_is_the_printed_one_byte_for_byte(name: str):
  expected = (LISTINGS / f'{name}.txt').read_bytes()
  assert (layer_table.keras_ascii(records_of(name)) + '\n').encode() == expected


@pytest.mark.parametrize('name', COUNTS)
def test_parameters_are_as_many_as_the_article_says(name: str):
  count = layer_table.parameter_count(variables_of(build(name), shape_of(name)))
  assert count == COUNTS[name]
  records = records_of(name)
  assert sum(r.trainable for r in records) == COUNTS[name][0]
  assert sum(r.parameters for r in records) == count.total == sum(COUNTS[name])


def test_lenet5_on_color_images():
  count = layer_table.parameter_count(variables_of(build('lenet5'), (32, 32, 3)))
  assert count.total == 62_006


# What the D0 article's runs log. It counts 18 for cnn_pkaur, the one network whose softmax is not a
# layer of its own.
@pytest.mark.parametrize(
  ('name', 'layers'),
  [('lr', 3), ('mlp', 5), ('cnn_simple', 7), ('cnn_adv', 20), ('cnn_fchollet', 13)],
)
def test_number_of_layers_is_that_of_keras(name: str, layers: int):
  assert len(records_of(name)) == layers


def test_listing_of_the_head_on_cached_features():
  """D3's dense layers on the features of VGG16, 4x4x512."""
  head = ('flatten', 'dense 512', 'dropout 0.5', 'dense 256', 'dropout 0.2')
  records = tracing.trace(
    models.create({'name': 'conv_net', 'head': head}, 1), (4, 4, 512), 'sigmoid'
  )
  expected = (LISTINGS / 'vgg16_head.txt').read_bytes()
  assert (layer_table.keras_ascii(records) + '\n').encode() == expected
  assert sum(record.parameters for record in records) == 4_326_401


def test_single_unit_with_sigmoid():
  module = models.create({'name': 'conv_net', 'head': ('flatten', 'dense 4')}, 1)
  text = layer_table.keras_ascii(tracing.trace(module, (2, 2, 1), 'sigmoid'))
  assert text.splitlines()[2:] == [
    '               Input   #####      2    2    1',
    '             Flatten   ||||| -------------------         0     0.0%',
    '                       #####           4',
    '               Dense   XXXXX -------------------        20    80.0%',
    '                relu   #####           4',
    '               Dense   XXXXX -------------------         5    20.0%',
    '             sigmoid   #####           1',
  ]


def test_second_activation_stays_a_line_of_its_own():
  shape = (4,)
  records = [
    tracing.LayerRecord('a', 'Dense', shape, shape, 20, activation='relu'),
    tracing.LayerRecord('b', 'Activation', shape, shape, activation='tanh'),
  ]
  assert layer_table.merge_activations(records) == records


def test_layers_without_weights_and_unknown_kinds():
  record = tracing.LayerRecord('a', 'Mystery', (2, 3), (6,))
  assert layer_table.keras_ascii([record]).splitlines()[3] == (
    '             Mystery   ????? -------------------         0     0.0%'
  )


def test_symbols_are_five_characters_wide():
  assert {len(symbol) for symbol in layer_table.SYMBOLS.values()} == {5}


def test_keras_table_is_65_wide():
  lines = layer_table.keras_table(records_of('cnn_simple')).splitlines()
  assert lines == [
    '_' * 65,
    'Layer (type)                 Output Shape              Param #   ',
    '=' * 65,
    'Conv_0 (Conv2D)              (None, 30, 30, 32)        896       ',
    '_' * 65,
    'MaxPool_0 (MaxPooling2D)     (None, 15, 15, 32)        0         ',
    '_' * 65,
    'Conv_1 (Conv2D)              (None, 13, 13, 64)        18496     ',
    '_' * 65,
    'MaxPool_1 (MaxPooling2D)     (None, 6, 6, 64)          0         ',
    '_' * 65,
    'Flatten_0 (Flatten)          (None, 2304)              0         ',
    '_' * 65,
    'logits (Dense)               (None, 10)                23050     ',
    '_' * 65,
    '(Activation)                 (None, 10)                0         ',
    '=' * 65,
    'Total params: 42,442',
    'Trainable params: 42,442',
    'Non-trainable params: 0',
    '_' * 65,
  ]


def test_keras_table_makes_room_for_long_names():
  lines = layer_table.keras_table(records_of('cnn_adv')).splitlines()
  assert lines[9].startswith('BatchNorm_0 (BatchNormalization) (None, 16, 16, 32)')
  assert lines[-4:-1] == [
    'Total params: 642,986',
    'Trainable params: 642,538',
    'Non-trainable params: 448',
  ]
  assert len({len(line) for line in lines[:-4]}) == 1


class Block(nn.Module):
  features: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    gain = self.param('gain', nn.initializers.ones, (3,))
    x = nn.Conv(self.features, (3, 3), use_bias=False)(x) * gain.sum()
    x = nn.BatchNorm(use_running_average=not train)(x)
    return nn.max_pool(nn.relu(x), (2, 2), (2, 2))


class ByHand(nn.Module):
  """Everything that a user may write in plain Flax."""

  num_classes: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = Block(8)(images, train)
    shared = nn.Conv(8, (3, 3))
    x = nn.leaky_relu(shared(x))
    x = nn.gelu(shared(x))
    x = nn.gelu(nn.avg_pool(x, (2, 2), (2, 2)), approximate=False)
    x = nn.tanh(nn.ConvTranspose(4, (2, 2), strides=(2, 2))(x))
    pooled = x.mean((1, 2))
    x = nn.Dropout(0.5)(x.reshape((x.shape[0], -1)), deterministic=not train)
    x = nn.sigmoid(nn.Dense(5)(x))
    return nn.Dense(self.num_classes)(jnp.concatenate([x, pooled], axis=1))


def test_plain_flax_module_with_functions_between_its_layers():
  records = tracing.trace(ByHand(10), (8, 8, 3))
  seen = [(r.kind, r.name, r.output_shape, r.parameters, r.activation) for r in records]
  assert seen == [
    ('Conv2D', 'Block_0/Conv_0', (8, 8, 8), 216, ''),
    ('BatchNormalization', 'Block_0/BatchNorm_0', (8, 8, 8), 32, ''),
    ('Activation', '', (8, 8, 8), 0, 'relu'),
    ('MaxPooling2D', '', (4, 4, 8), 0, ''),
    ('Block', 'Block_0', (4, 4, 8), 3, ''),  # the parameter that the block itself holds
    ('Conv2D', 'Conv_0', (4, 4, 8), 584, ''),
    ('Activation', '', (4, 4, 8), 0, 'leaky_relu'),
    ('Conv2D', 'Conv_0', (4, 4, 8), 0, ''),  # the same weights again
    ('Activation', '', (4, 4, 8), 0, 'gelu'),
    ('AveragePooling2D', '', (2, 2, 8), 0, ''),
    ('Activation', '', (2, 2, 8), 0, 'gelu'),
    ('Conv2DTranspose', 'ConvTranspose_0', (4, 4, 4), 132, ''),
    ('Activation', '', (4, 4, 4), 0, 'tanh'),
    ('GlobalAveragePooling2D', '', (4,), 0, ''),
    ('Flatten', '', (64,), 0, ''),
    ('Dropout', 'Dropout_0', (64,), 0, ''),
    ('Dense', 'Dense_0', (5,), 325, ''),
    ('Activation', '', (5,), 0, 'sigmoid'),
    ('Dense', 'Dense_1', (10,), 100, ''),
    ('Activation', '', (10,), 0, 'softmax'),
  ]
  count = layer_table.parameter_count(variables_of(ByHand(10), (8, 8, 3)))
  assert count == (216 + 16 + 3 + 584 + 132 + 325 + 100, 16)
  assert sum(r.parameters for r in records) == count.total


def test_a_network_described():
  """Counted by hand: a 3x3 convolution of 8x8x2 images to 4 maps, BatchNorm, 256 -> 3 products."""
  fields = {
    'name': 'conv_net',
    'widths': (4,),
    'block': ('conv3', 'batch_norm'),
    'head': ('flatten',),
  }
  found = layer_table.describe(models.create(fields, 3), (8, 8, 2))
  kinds = [layer.kind for layer in found.layers]
  assert kinds == ['Conv2D', 'BatchNormalization', 'Flatten', 'Dense', 'Activation']
  assert found.parameters == (9 * 2 * 4 + 4 + 2 * 4 + 256 * 3 + 3, 2 * 4)
  assert found.macs == 64 * 9 * 2 * 4 + 256 * 3
  assert str(found) == '5 layers, 863 parameters'
  assert found.drawing.splitlines()[-1].split() == ['softmax', '#####', '3']


class Unusual(nn.Module):
  """Inputs by keyword, outputs in a tuple, a block whose activations are not kept."""

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = nn.remat(Pair, static_argnums=(2,))(4)(images, train)[0]
    return nn.Dense(2)(inputs=x.reshape((1, -1)))


class Pair(nn.Module):
  features: int

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    x = nn.relu(nn.Conv(self.features, (1, 1))(x))
    return x, x


def test_unusual_calls_are_listed_too():
  records = tracing.trace(Unusual(), (2, 2, 3), '')
  assert [(r.kind, r.output_shape, r.parameters, r.activation) for r in records] == [
    ('Conv2D', (2, 2, 4), 16, ''),
    ('Activation', (2, 2, 4), 0, 'relu'),
    ('Flatten', (16,), 0, ''),
    ('Dense', (2,), 34, ''),
  ]


def test_parameter_overview_names_every_array():
  module = models.create({'name': 'conv_net', 'widths': (2,), 'block': ('conv3', 'batch_norm')}, 3)
  variables = module.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)), train=False)
  text = layer_table.parameter_overview(variables)
  assert 'params/Conv_0/kernel' in text
  assert 'batch_stats/BatchNorm_0/mean' in text
