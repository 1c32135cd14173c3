"""Every family: counts of the papers, other classes and images, dtypes, masks."""

import functools
import importlib
from collections.abc import Container, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cifar_jax import layers, models
from cifar_jax.analysis import layer_table, tracing
from cifar_jax.utils.errors import UserError

FOUR = {'name': 'resnet', 'shortcut': 'project', 'widths': (64, 128, 256, 512)}
BOTTLENECKS = FOUR | {'block': 'bottleneck', 'depth': 50}
RESNEXT = BOTTLENECKS | {'depth': 29, 'widths': (64, 128, 256)}
PREACT = {'name': 'preact_resnet', 'widths': (16, 32, 64)}
DENSENET_BC = {'name': 'densenet', 'bottleneck': True, 'compression': 0.5}
VGG_HEAD = ('flatten', 'dense 4096', 'dropout 0.5', 'dense 4096', 'dropout 0.5')
STEM = 7 * 7 * 3 * 64 - 3 * 3 * 3 * 64  # by which the stem for ImageNet is larger than ours
LARGE = (224, 224, 3)
MIXER_B = {'width': 768, 'depth': 12, 'token_units': 384, 'channel_units': 3072}

# Fields, classes, image shape, trainable parameters. Most numbers are those of the original or of
# widely used implementations for ImageNet; what a paper rounds to is given as a range below.
EXACT: dict[str, tuple[dict[str, Any], int, tuple[int, int, int], int]] = {
  'resnet20': ({'name': 'resnet'}, 10, (32, 32, 3), 269_722),
  'resnet32': ({'name': 'resnet', 'depth': 32}, 10, (32, 32, 3), 464_154),
  'resnet44': ({'name': 'resnet', 'depth': 44}, 10, (32, 32, 3), 658_586),
  'resnet56': ({'name': 'resnet', 'depth': 56}, 10, (32, 32, 3), 853_018),
  'resnet110': ({'name': 'resnet', 'depth': 110}, 10, (32, 32, 3), 1_727_962),
  'resnet18': (FOUR | {'depth': 18}, 1000, (32, 32, 3), 11_689_512 - STEM),
  'resnet34': (FOUR | {'depth': 34}, 1000, (32, 32, 3), 21_797_672 - STEM),
  'resnext50': (
    BOTTLENECKS | {'groups': 32, 'group_width': 4},
    1000,
    (32, 32, 3),
    25_028_904 - STEM,
  ),
  'se_resnet50': (BOTTLENECKS | {'squeeze': 16}, 1000, (32, 32, 3), 28_088_024 - STEM),
  'densenet40_12': ({'name': 'densenet'}, 10, (32, 32, 3), 1_019_722),
  'small_inception': ({'name': 'small_inception'}, 10, (28, 28, 3), 1_649_402),
  'mobilenet_v2': ({'name': 'mobilenet_v2'}, 1000, (32, 32, 3), 3_504_872),
  'convnext_t': ({'name': 'convnext', 'patch': 4}, 1000, LARGE, 28_589_128),
  'vit_ti16': ({'name': 'vit', 'patch': 16}, 1000, LARGE, 5_717_416),
  'mixer_b16': ({'name': 'mixer', 'patch': 16} | MIXER_B, 1000, LARGE, 59_880_472),
  'vgg16_plain': (
    {'name': 'vgg', 'batch_norm': False, 'head': VGG_HEAD},
    1000,
    LARGE,
    138_357_544,
  ),
  'vgg16_base': ({'name': 'vgg', 'batch_norm': False}, 10, (32, 32, 3), 14_714_688 + 5_130),
  'vgg11': ({'name': 'vgg', 'depth': 11, 'head': VGG_HEAD}, 1000, LARGE, 132_868_840),
  'vgg13': ({'name': 'vgg', 'depth': 13, 'head': VGG_HEAD}, 1000, LARGE, 133_053_736),
  'vgg16': ({'name': 'vgg', 'depth': 16, 'head': VGG_HEAD}, 1000, LARGE, 138_365_992),
  'vgg19': ({'name': 'vgg', 'depth': 19, 'head': VGG_HEAD}, 1000, LARGE, 143_678_248),
}
# Millions of parameters as printed, with as many digits.
ROUNDED = {
  'wrn_28_10': ({'name': 'wide_resnet'}, '36.5'),
  'wrn_40_4': ({'name': 'wide_resnet', 'depth': 40, 'width': 4}, '8.9'),
  'wrn_16_8': ({'name': 'wide_resnet', 'depth': 16, 'width': 8}, '11.0'),
  'wrn_40_2': ({'name': 'wide_resnet', 'depth': 40, 'width': 2}, '2.2'),
  'preact_110': (PREACT | {'depth': 110}, '1.7'),
  'resnext29_8x64': (RESNEXT | {'groups': 8}, '34.4'),
  'resnext29_16x64': (RESNEXT | {'groups': 16}, '68.1'),
}

# Members of a family whose formula another one has been held to.
THOROUGH = {
  *('resnet32', 'resnet44', 'resnet56', 'resnet110', 'resnet34', 'vgg11', 'vgg13', 'vgg19'),
  *('wrn_40_4', 'wrn_16_8', 'wrn_40_2', 'resnext29_16x64'),
  *('resnet18', 'resnext50', 'se_resnet50', 'vgg16_plain'),
}


def marked(names: Iterable[str], thorough: Container[str]) -> list[Any]:
  return [
    pytest.param(name, marks=pytest.mark.thorough) if name in thorough else name for name in names
  ]


# Shallow members of all families, for what needs their arithmetic.
SMALL: dict[str, dict[str, Any]] = {
  'resnet': {'name': 'resnet', 'depth': 8, 'widths': (4, 8, 8)},
  'se_resnext': RESNEXT | {'depth': 11, 'widths': (4, 8, 8), 'groups': 2, 'squeeze': 2},
  'preact': {'name': 'preact_resnet', 'depth': 8, 'widths': (4, 8, 8)},
  'wide': {'name': 'wide_resnet', 'depth': 10, 'width': 1, 'dropout': 0.3},
  'vgg': {'name': 'vgg', 'depth': 11, 'widths': (4, 4, 8, 8, 8)},
  'densenet': DENSENET_BC | {'depth': 10, 'growth': 4, 'dropout': 0.2},
  'googlenet': {'name': 'googlenet', 'width': 0.05},
  'small_inception': {'name': 'small_inception', 'width': 0.05},
  'mobilenet_v2': {'name': 'mobilenet_v2', 'width': 0.1},
  'convnext': {'name': 'convnext', 'depths': (1, 1), 'widths': (4, 8), 'drop_path': 0.2},
  'vit': {'name': 'vit', 'width': 12, 'depth': 2, 'dropout': 0.1, 'drop_path': 0.2},
  'mixer': {'name': 'mixer', 'width': 8, 'depth': 2, 'token_units': 8, 'channel_units': 16},
}
WITH_BATCH_NORM = sorted(set(SMALL) - {'convnext', 'vit', 'mixer'})
# Where a test asks the same of layers that the others have as well.
OF_THE_SAME_LAYERS = {
  *('se_resnext', 'preact', 'wide', 'googlenet', 'small_inception', 'mobilenet_v2', 'convnext'),
  'mixer',
}


def shapes(module: nn.Module, image_shape: tuple[int, ...], key: int = 0) -> Any:
  images = jnp.zeros((1, *image_shape))
  return jax.eval_shape(lambda: module.init(jax.random.key(key), images, train=False))


@pytest.mark.parametrize('name', marked(EXACT, THOROUGH))
def test_parameters_are_those_of_the_original(name: str):
  fields, classes, image_shape, expected = EXACT[name]
  count = layer_table.parameter_count(shapes(models.create(fields, classes), image_shape))
  assert count.trainable == expected


@pytest.mark.slow
def test_densenet_of_250_layers_has_the_printed_size():
  fields = DENSENET_BC | {'depth': 250, 'growth': 24}
  count = layer_table.parameter_count(shapes(models.create(fields, 10), (32, 32, 3)))
  assert count == (15_324_406, 257_976)


@pytest.mark.parametrize('name', marked(ROUNDED, THOROUGH))
def test_parameters_are_as_many_as_the_paper_says(name: str):
  fields, millions = ROUNDED[name]
  count = layer_table.parameter_count(shapes(models.create(fields, 10), (32, 32, 3))).trainable
  # The papers cut or round.
  assert abs(count / 1e6 - float(millions)) < 0.1


@pytest.mark.parametrize('name', marked(SMALL, {*SMALL} - {'resnet', 'vgg', 'densenet', 'vit'}))
def test_other_classes_and_gray_digits(name: str):
  """CIFAR-100 and images of 28x28x1, by nothing but the data; VGG needs a border for its pools."""
  module = models.create(SMALL[name], 100)
  images = jnp.zeros((2, 32, 32, 1) if name == 'vgg' else (2, 28, 28, 1))
  logits, _ = jax.eval_shape(
    lambda: module.init_with_output(jax.random.key(0), images, train=False)
  )
  assert (logits.shape, logits.dtype) == ((2, 100), jnp.float32)


@functools.cache
def small_in_bfloat16(name: str) -> tuple[Any, list[bool]]:
  """Shapes of a small network's variables, and whether each BatchNorm was given the mask."""
  seen = []
  mask = jnp.array([True, False])
  options = {'mask': mask} if name in WITH_BATCH_NORM else {}

  def look(method: Any, arguments: Any, named: Any, context: Any) -> Any:
    if isinstance(context.module, layers.BatchNorm) and context.method_name == '__call__':
      seen.append(any(value is mask for value in (*arguments, *named.values())))
    return method(*arguments, **named)

  def run(key: jax.Array) -> Any:
    module = models.create(SMALL[name] | {'dtype': 'bfloat16'}, 10)
    with nn.intercept_methods(look):
      return module.init(key, jnp.zeros((2, 32, 32, 3)), train=False, **options)

  return jax.eval_shape(run, jax.random.key(0)), seen


@pytest.mark.parametrize(
  'name', marked(SMALL, OF_THE_SAME_LAYERS - {'se_resnext', 'wide', 'convnext', 'mixer'})
)
def test_bfloat16_computes_but_does_not_store(name: str):
  module = models.create(SMALL[name] | {'dtype': 'bfloat16'}, 10)
  variables, _ = small_in_bfloat16(name)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

  def run(variables: Any, images: jax.Array) -> Any:
    rngs = {'dropout': jax.random.key(0)}
    mutable = ['batch_stats']
    return models.apply(module, variables, images, train=True, rngs=rngs, mutable=mutable)

  program, (logits, changed) = jax.make_jaxpr(run, return_shape=True)(variables, images)
  assert logits.dtype == jnp.float32
  assert {leaf.dtype for leaf in jax.tree.leaves(changed)} <= {jnp.dtype('float32')}
  products = [
    line
    for line in str(program).splitlines()
    if 'conv_general_dilated[' in line or 'dot_general[' in line
  ]
  assert products
  # Attention sums up in float32, which the device does anyway.
  assert all('bf16' in line.split('=')[0] for line in products) or name == 'vit'


@pytest.mark.parametrize('name', WITH_BATCH_NORM)
def test_the_mask_reaches_every_batch_norm(name: str):
  """What BatchNorm makes of it is tested with the layer."""
  variables, seen = small_in_bfloat16(name)
  assert seen == [True] * (len(jax.tree.leaves(variables['batch_stats'])) // 2)


@pytest.mark.parametrize('name', marked(SMALL, OF_THE_SAME_LAYERS))
def test_listing_accounts_for_all_parameters(name: str):
  records = tracing.trace(models.create(SMALL[name], 10), (32, 32, 3))
  count = layer_table.parameter_count(small_in_bfloat16(name)[0])
  assert sum(record.trainable for record in records) == count.trainable
  assert sum(record.non_trainable for record in records) == count.non_trainable
  assert records[-2].output_shape == (10,)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'name': 'resnet', 'depth': 21}, r'model\.depth=21 is not 6 n \+ 2; use one such as 14 or 20'),
    ({'name': 'resnet', 'depth': 2}, r'model\.depth=2 is not'),
    ({'name': 'resnet', 'block': 'wide'}, r"model\.block must be 'basic' or 'bottleneck'"),
    ({'name': 'resnet', 'widths': ()}, r'model\.widths must be a tuple'),
    ({'name': 'resnet', 'widths': (16, 0)}, r'model\.widths must be a whole number'),
    ({'name': 'wide_resnet', 'depth': 27}, r'model\.depth=27 is not 6 n \+ 4'),
    ({'name': 'preact_resnet', 'depth': 20.5}, r'model\.depth must be a whole number'),
    ({'name': 'densenet', 'depth': 41}, r'model\.depth=41 is not 3 n \+ 4'),
    ({'name': 'densenet', 'dropout': 1.0}, r'model\.dropout must be a number in \[0, 1\)'),
    ({'name': 'densenet', 'compression': 0}, r'model\.compression must be .* up to 1, not 0'),
    ({'name': 'vgg', 'depth': 12}, r'model\.depth must be 11 or 13 or 16 or 19, not 12'),
    ({'name': 'googlenet', 'width': 0}, r'model\.width must be a factor above 0'),
    ({'name': 'mobilenet_v2', 'width': 'x'}, r'model\.width must be a factor above 0'),
    ({'name': 'convnext', 'depths': (3, 3)}, r'must have one number each'),
    ({'name': 'vit', 'heads': 5}, r'model\.heads=5 does not divide --config\.model\.width=192'),
    ({'name': 'mixer', 'depth': 0}, r'model\.depth must be a whole number'),
  ],
)
def test_mistakes_are_found_when_the_network_is_made(fields: dict[str, Any], message: str):
  with pytest.raises(UserError, match=message):
    models.create(fields, 10)


def test_patches_must_fit_the_images():
  with pytest.raises(UserError, match=r'patch=5 does not divide images of 32x32'):
    shapes(models.create({'name': 'vit', 'patch': 5, 'depth': 1}, 10), (32, 32, 3))


# Those of the config files' own docstrings, which a reader goes by.
CONFIGS = (
  *('resnet20', 'resnet18', 'preact_resnet18', 'wide_resnet28_10', 'resnext29', 'vgg16', 'alexnet'),
  *('densenet40_12', 'densenet_bc100_12', 'googlenet', 'small_inception', 'mobilenet_v2'),
  *('convnext_tiny', 'vit_tiny', 'mlp_mixer'),
)


# README's numbers of the same networks are compared with them every day, see tests/claims.
@pytest.mark.parametrize('name', marked(CONFIGS, {*CONFIGS} - {'resnet20', 'vit_tiny'}))
def test_config_says_how_many_parameters_it_has(name: str):
  config_file = importlib.import_module(f'configs.{name}')
  module = models.create(config_file.get_config().model, 10)
  count = layer_table.parameter_count(shapes(module, (32, 32, 3))).trainable
  assert f'{count:,} parameters' in (config_file.__doc__ or '').partition('\n')[0]
