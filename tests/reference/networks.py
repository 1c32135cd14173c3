"""The networks of the articles and of airbench94 in plain Flax, as their texts and programs have
them.

Layers carry the names that Flax gives them by itself, so that initial parameters and the masks of
dropout, whose keys follow from names, coincide with those of the toolkit.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
  """Inverted dropout with the bits that the toolkit documents for CPU.

  A random word of 32 bits serves four elements along the last axis, lowest bits first, where the
  part that stays is a multiple of 1/256, and two otherwise; an element stays where its bits are
  below that part. A last axis that is no multiple of four (two) takes the words of the flat array.

  Attributes:
    rate: The probability that an element is dropped.
    rows: The rows of the batch that draws; more than are given where the rest of it is padding.
  """

  rate: float
  rows: int

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
    if not train:
      return inputs
    shape = (self.rows, *inputs.shape[1:])
    bits = 8 if (256 * (1 - self.rate)).is_integer() else 16
    lanes = 32 // bits
    size = 1
    for length in shape:
      size *= length
    whole = shape[-1] % lanes == 0
    words_shape = (*shape[:-1], shape[-1] // lanes) if whole else (-(-size // lanes),)
    words = jax.random.bits(self.make_rng('dropout'), words_shape, jnp.uint32)
    parts = jnp.stack([(words >> (bits * lane)) & (2**bits - 1) for lane in range(lanes)], axis=-1)
    drawn = parts.reshape(-1)[:size].reshape(shape)[: len(inputs)]
    kept = drawn < round((1 - self.rate) * 2**bits)
    return jnp.where(kept, inputs / (1 - self.rate), 0)


def conv(maps: jax.Array, filters: int, window: int = 3, padding: str = 'SAME') -> jax.Array:
  """Glorot's initial kernel, as in Keras; called within a compact module."""
  return nn.Conv(
    filters, (window, window), padding=padding, kernel_init=nn.initializers.glorot_uniform()
  )(maps)


def dense(vectors: jax.Array, units: int, name: str | None = None) -> jax.Array:
  return nn.Dense(units, kernel_init=nn.initializers.glorot_uniform(), name=name)(vectors)


def pool(maps: jax.Array) -> jax.Array:
  return nn.max_pool(maps, (2, 2), (2, 2))


def flat(maps: jax.Array) -> jax.Array:
  return maps.reshape(len(maps), -1)


class Network(nn.Module):
  """What all have in common.

  Attributes:
    widths: The widths of the blocks, which tests make smaller than the articles' are.
    rows: The rows of a whole batch, for `Dropout`.
    classes: The number of logits.
  """

  widths: tuple[int, ...] = ()
  rows: int = 0
  classes: int = 10

  def drop(self, rate: float, maps: jax.Array, train: bool) -> jax.Array:
    return Dropout(rate, self.rows)(maps, train)


class LogisticRegression(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    return dense(flat(images), self.classes, 'logits')


class Mlp(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = nn.sigmoid(dense(flat(images), 128))
    x = nn.sigmoid(dense(x, 128))
    return dense(x, self.classes, 'logits')


class CnnSimple(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = pool(nn.relu(conv(x, width, padding='VALID')))
    return dense(flat(x), self.classes, 'logits')


class CnnAdv(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = nn.relu(conv(x, width))
      x = nn.relu(conv(x, width, window=1))
      x = pool(x)
      x = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, use_fast_variance=False)(x)
      x = self.drop(0.25, x, train)
    x = nn.relu(dense(flat(x), 256))
    x = self.drop(0.5, x, train)
    return dense(x, self.classes, 'logits')


class CnnFchollet(Network):
  """Also `tutorial_4layer`."""

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = nn.relu(conv(x, width))
      x = nn.relu(conv(x, width, padding='VALID'))
      x = self.drop(0.25, pool(x), train)
    x = self.drop(0.5, nn.relu(dense(flat(x), 512)), train)
    return dense(x, self.classes, 'logits')


class CnnPkaur(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = nn.relu(conv(x, width))
      x = nn.relu(conv(x, width, padding='VALID'))
      x = self.drop(0.25, pool(x), train)
    x = self.drop(0.5, nn.relu(dense(flat(x), 512)), train)
    x = self.drop(0.5, nn.relu(dense(x, 256)), train)
    return dense(x, self.classes, 'logits')


class Tutorial6Layer(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = self.drop(0.2, nn.relu(conv(x, width)), train)
      x = pool(nn.relu(conv(x, width)))
    x = self.drop(0.2, flat(x), train)
    x = self.drop(0.2, nn.relu(dense(x, 1024)), train)
    return dense(x, self.classes, 'logits')


class Episode2(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width, rate in zip(self.widths, (0.3, 0.3, 0.4), strict=True):
      x = self.drop(rate, pool(nn.relu(conv(x, width))), train)
    x = self.drop(0.3, nn.relu(dense(flat(x), 80)), train)
    return dense(x, self.classes, 'logits')


class P5Dcnn(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = nn.relu(conv(x, width, padding='VALID'))
      x = nn.relu(conv(x, width, padding='VALID'))
      x = self.drop(0.25, pool(x), train)
    x = self.drop(0.5, nn.relu(dense(flat(x), 256)), train)
    return dense(x, self.classes, 'logits')


class P58140(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    def leaky(x: jax.Array) -> jax.Array:
      return nn.leaky_relu(x, 0.003)

    first, second = self.widths
    x = leaky(conv(images, first, padding='VALID'))
    x = leaky(conv(x, 2 * first))
    x = leaky(conv(x, first, padding='VALID'))
    x = leaky(conv(x, first, padding='VALID'))
    x = self.drop(0.35, pool(x), train)
    x = leaky(conv(x, second, padding='VALID'))
    x = leaky(conv(x, 2 * second))
    x = leaky(conv(x, second, padding='VALID'))
    x = self.drop(0.25, pool(x), train)
    x = self.drop(0.35, nn.relu(dense(flat(x), 256)), train)
    x = self.drop(0.25, nn.relu(dense(x, 256)), train)
    return dense(x, self.classes, 'logits')


class LeNet5(Network):
  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = images
    for width in self.widths:
      x = jnp.tanh(conv(x, width, window=5, padding='VALID'))
      x = nn.avg_pool(x, (2, 2), (2, 2))
    x = jnp.tanh(dense(flat(x), 120))
    x = jnp.tanh(dense(x, 84))
    return dense(x, self.classes, 'logits')


class HeadOnMaps(Network):
  """A dense layer of eight with dropout on the maps of a frozen network."""

  class Head(Network):
    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
      x = self.drop(0.2, nn.relu(dense(flat(maps), 8)), train)
      return dense(x, self.classes, 'logits')

  @nn.compact
  def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
    return self.Head(rows=self.rows, classes=self.classes, name='head')(maps, train)


torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def dirac(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
  """PyTorch's default, but the first filters pass one channel each."""
  kernel = torch_uniform(key, shape, dtype)
  passed = min(shape[2:])
  kernel = kernel.at[..., :passed].set(0)
  channels = jnp.arange(passed)
  return kernel.at[shape[0] // 2, shape[1] // 2, channels, channels].set(1)


class Airbench94(Network):
  """Jordan (2024): a whitening convolution of 2x2, three groups, a linear layer without bias."""

  class Group(nn.Module):
    width: int

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
      x = nn.Conv(self.width, (3, 3), use_bias=False, kernel_init=dirac)(maps)
      x = nn.gelu(self.norm(train)(pool(x)), approximate=False)
      x = nn.Conv(self.width, (3, 3), use_bias=False, kernel_init=dirac)(x)
      return nn.gelu(self.norm(train)(x), approximate=False)

    def norm(self, train: bool) -> nn.BatchNorm:
      return nn.BatchNorm(
        not train, momentum=0.6, epsilon=1e-12, use_scale=False, use_fast_variance=False
      )

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    x = nn.Conv(24, (2, 2), padding='VALID', kernel_init=torch_uniform, name='whitening')(images)
    x = nn.gelu(x, approximate=False)
    for number, width in enumerate(self.widths):
      x = self.Group(width, name=f'Group_{number}')(x, train)
    x = flat(jnp.max(x, axis=(1, 2)))
    x = nn.Dense(self.classes, use_bias=False, kernel_init=torch_uniform, name='logits')(x)
    return x / 9
