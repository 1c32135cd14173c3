"""Networks on patches: a vision transformer and an MLP-Mixer.

"An Image is Worth 16x16 Words" (Dosovitskiy et al., 2021) and "MLP-Mixer: An all-MLP Architecture
for Vision" (Tolstikhin et al., 2021); for images of 32x32 a patch of 4 gives the 64 tokens that
`vit_tiny` and `mlp_mixer` are configured with.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.fields import POSITIVE_INT, Network, drop_path_rate
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE
from cifar_jax.schema.options import option, shared_option
from cifar_jax.utils.array_types import ClassLogits, Elements, Images, Tokens, Vectors
from cifar_jax.utils.errors import UserError

small_normal = nn.initializers.truncated_normal(0.02)
_patch = shared_option(
  POSITIVE_INT, 'Height and width of a patch in pixels; they must divide those of the images.'
)


@register('vit')
class VisionTransformer(Network):
  """Patches with learned positions and a class token, encoded by self-attention."""

  patch: int = _patch(4)
  width: int = option(192, POSITIVE_INT)('Length of a token.')
  depth: int = option(12, POSITIVE_INT)('Number of encoder blocks.')
  heads: int = option(3, POSITIVE_INT)('Number of attention heads, which must divide the width.')
  hidden_factor: int = option(4, POSITIVE_INT)(
    'Number of units of the MLP in a block, as a multiple of the width.'
  )
  dropout: float = option(0.0, BELOW_ONE)(
    'Rate of dropout after each dense layer of a branch and after the positions are added.'
  )
  drop_path: float = drop_path_rate(0.0)

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    if self.width % self.heads:
      raise UserError(
        f'--config.model.heads={self.heads} does not divide --config.model.width={self.width}'
      )

  @nn.compact
  def __call__(self, images: Images, train: bool) -> ClassLogits:
    tokens = Patches(self.patch, self.width, self.dtype, name='patches')(images)
    batch, count, width = tokens.shape
    first = self.param('class_token', nn.initializers.zeros_init(), (1, 1, width))
    positions = self.param('positions', small_normal, (1, count + 1, width))
    first = jnp.broadcast_to(first.astype(self.dtype), (batch, 1, width))
    tokens = jnp.concatenate([first, tokens], axis=1)
    tokens = tokens + jnp.broadcast_to(positions.astype(self.dtype), tokens.shape)
    tokens = layers.Dropout(self.dropout)(tokens, deterministic=not train)
    for number, rate in enumerate(layers.linear_drop_path_rates(self.drop_path, self.depth)):
      attention = Attention(self.heads, self.dtype, name=f'block{number}_attention')
      mlp = Mlp(self.hidden_factor * width, self.dropout, self.dtype, name=f'block{number}_mlp')
      branch = attention(layer_norm(self.dtype)(tokens))
      branch = layers.Dropout(self.dropout)(branch, deterministic=not train)
      tokens = tokens + layers.DropPath(rate)(branch, deterministic=not train)
      branch = mlp(layer_norm(self.dtype)(tokens), train)
      tokens = tokens + layers.DropPath(rate)(branch, deterministic=not train)
    return logits(layer_norm(self.dtype)(tokens)[:, 0], self.num_classes, self.dtype)


@register('mixer')
class MlpMixer(Network):
  """Patches that dense layers mix across places and across channels in turn."""

  patch: int = _patch(4)
  width: int = option(128, POSITIVE_INT)('Length of a token.')
  depth: int = option(8, POSITIVE_INT)('Number of blocks.')
  token_units: int = option(64, POSITIVE_INT)('Number of units of the MLP across places.')
  channel_units: int = option(512, POSITIVE_INT)('Number of units of the MLP across channels.')
  dropout: float = option(0.0, BELOW_ONE)('Rate of dropout after each dense layer of a branch.')
  drop_path: float = drop_path_rate(0.0)

  @nn.compact
  def __call__(self, images: Images, train: bool) -> ClassLogits:
    tokens = Patches(self.patch, self.width, self.dtype, name='patches')(images)
    for number, rate in enumerate(layers.linear_drop_path_rates(self.drop_path, self.depth)):
      across_places = Mlp(self.token_units, self.dropout, self.dtype, name=f'block{number}_tokens')
      across_channels = Mlp(
        self.channel_units, self.dropout, self.dtype, name=f'block{number}_channels'
      )
      branch = across_places(layer_norm(self.dtype)(tokens).swapaxes(1, 2), train).swapaxes(1, 2)
      tokens = tokens + layers.DropPath(rate)(branch, deterministic=not train)
      branch = across_channels(layer_norm(self.dtype)(tokens), train)
      tokens = tokens + layers.DropPath(rate)(branch, deterministic=not train)
    return logits(layer_norm(self.dtype)(tokens).mean(axis=1), self.num_classes, self.dtype)


class Patches(nn.Module):
  """Cuts an image into patches and makes a token of each.

  Attributes:
    size: Height and width of a patch.
    width: Length of a token.
    dtype: Dtype of the computation.
  """

  size: int
  width: int
  dtype: Any

  @nn.compact
  def __call__(self, images: Images) -> Tokens:
    """The tokens of rows first; raises UserError where images do not consist of whole patches."""
    batch, height, width = images.shape[:3]
    if height % self.size or width % self.size:
      raise UserError(
        f'--config.model.patch={self.size} does not divide images of {height}x{width}; choose '
        'another, or give them a border with --config.data.pad_to'
      )
    conv = layers.Conv(self.width, self.size, self.size, 'VALID', dtype=self.dtype)
    return conv(images.astype(self.dtype)).reshape(batch, -1, self.width)


class Attention(nn.Module):
  """Self-attention of several heads.

  Attributes:
    heads: Number of heads; must divide the width of the tokens.
    dtype: Dtype of the computation.
  """

  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, tokens: Tokens) -> Tokens:
    batch, count, width = tokens.shape

    def project(name: str) -> jax.Array:
      values = layers.Dense(width, dtype=self.dtype, name=name)(tokens)
      return values.reshape(batch, count, self.heads, width // self.heads)

    mixed = jax.nn.dot_product_attention(project('query'), project('key'), project('value'))
    return layers.Dense(width, dtype=self.dtype, name='out')(mixed.reshape(tokens.shape))


class Mlp(nn.Module):
  """Two dense layers with GELU between them, which keep the length of the last axis.

  Attributes:
    units: Units between them.
    dropout: Rate of dropout after each of them.
    dtype: Dtype of the computation.
  """

  units: int
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, inputs: Elements, train: bool) -> Elements:
    hidden = layers.Dense(self.units, activation='gelu', dtype=self.dtype)(inputs)
    hidden = layers.Dropout(self.dropout)(hidden, deterministic=not train)
    outputs = layers.Dense(inputs.shape[-1], dtype=self.dtype)(hidden)
    return layers.Dropout(self.dropout)(outputs, deterministic=not train)


def layer_norm(dtype: Any) -> nn.LayerNorm:
  """Layer normalization as in vision transformers and in ConvNeXt."""
  return nn.LayerNorm(epsilon=1e-6, dtype=dtype)


def logits(vectors: Vectors, num_classes: int, dtype: Any) -> ClassLogits:
  """The last layer, called 'logits'."""
  head = layers.Dense(num_classes, kernel_init=small_normal, dtype=dtype, name='logits')
  return head(vectors).astype(jnp.float32)
