"""Mixup and CutMix: an image becomes a mixture of two, and so does its label."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from ml_collections import ConfigDict

from cifar_jax.utils.array_types import Images, Mask, RandomKey

_KEY_INDEX = 8  # those before are of `pipeline`


@struct.dataclass
class Mixed:
  """A batch of mixtures.

  Every loss here is linear in the target, so that of a mixed label is the mixture of the losses:
  weight loss(logits, label) + (1 - weight) loss(logits, label of the partner).

  Attributes:
    images: The mixtures, float32 [B, H, W, C].
    partners: The row of the batch that each image is mixed with, int32 [B].
    weight: The part of the image's own label, float32 [B]; the rest is the partner's.
  """

  images: jax.Array
  partners: jax.Array
  weight: jax.Array


# (key of the step, images, mask) -> mixtures. Rows that the mask leaves out follow all others and
# are nobody's partner, except of each other.
Mix = Callable[[RandomKey, Images, Mask | None], Mixed]


def make_mix(augment_config: ConfigDict) -> Mix | None:
  """Returns what `config.augment.mixup` and `cutmix` ask for; None if that is nothing.

  Each is the parameter alpha of the Beta(alpha, alpha) distribution of the weight, 0 for none; with
  both, a coin for each image decides between them.
  """
  alphas = augment_config.mixup, augment_config.cutmix
  if not any(alphas):
    return None

  def mix(key: RandomKey, images: Images, mask: Mask | None) -> Mixed:
    key = jax.random.fold_in(key, _KEY_INDEX)
    partner_key, first_key, second_key, coin_key = jax.random.split(key, 4)
    partners = random_partners(partner_key, len(images), mask)
    others = images[partners]
    if not alphas[1]:
      mixed, weight = mixup(first_key, images, others, alphas[0])
    elif not alphas[0]:
      mixed, weight = cutmix(second_key, images, others, alphas[1])
    else:
      coins = jax.random.bernoulli(coin_key, shape=(len(images),))
      blended, first = mixup(first_key, images, others, alphas[0])
      patched, second = cutmix(second_key, images, others, alphas[1])
      mixed = jnp.where(coins[:, None, None, None], blended, patched)
      weight = jnp.where(coins, first, second)
    return Mixed(mixed, partners, weight)

  return mix


def random_partners(key: jax.Array, batch: int, mask: jax.Array | None) -> jax.Array:
  """int32 [batch]: each row is paired with the one so many rows on, the same number for all."""
  rows = jnp.arange(batch)
  count = batch if mask is None else jnp.maximum(jnp.sum(mask), 1)
  shift = jax.random.randint(key, (), 1, jnp.maximum(count, 2))
  return jnp.where(rows < count, (rows + shift) % count, rows).astype(jnp.int32)


def mixup(
  key: jax.Array, images: jax.Array, others: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
  """Zhang et al. (2018), with a weight for each image: weight image + (1 - weight) other.

  The weight is drawn from Beta(alpha, alpha) and taken to be the larger part, which changes
  nothing where partners are drawn at random and keeps an accuracy by the image's own label
  meaningful.

  Returns:
    Mixtures [B, H, W, C], weights [B] in 0.5..1.
  """
  weight = symmetric_beta(key, alpha, len(images))
  weight = jnp.maximum(weight, 1 - weight)
  part = weight[:, None, None, None]
  return part * images + (1 - part) * others, weight


def symmetric_beta(key: jax.Array, alpha: float, count: int) -> jax.Array:
  """Draws float32 [count] from Beta(alpha, alpha), without the rejection of `jax.random.beta`.

  t = sqrt(2 alpha (u**(-1 / alpha) - 1)) cos(2 pi v) has Student's distribution of 2 alpha degrees
  of freedom (Bailey, 1994), and then (1 + t / sqrt(2 alpha + t^2)) / 2 has ours (Devroye, 1996).
  """
  u, v = jax.random.uniform(key, (2, count))
  power, cosine = u ** (1 / alpha), jnp.cos(2 * jnp.pi * v)
  # t^2 / (2 alpha + t^2), in a form that overflows nowhere.
  part = (1 - power) * jnp.square(cosine)
  return (1 + jnp.sign(cosine) * jnp.sqrt(part / jnp.maximum(part + power, 1e-30))) / 2


def cutmix(
  key: jax.Array, images: jax.Array, others: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
  """Yun et al. (2019), with a box for each image: inside it is the other one.

  The box has the image's proportions and 1 - Beta(alpha, alpha) of its area; its center lies
  anywhere, and what the border cuts off is not counted.

  Returns:
    Mixtures [B, H, W, C], weights [B]: the part of the area that is the image's own.
  """
  batch, height, width, _ = images.shape
  weight_key, row_key, column_key = jax.random.split(key, 3)
  side = jnp.sqrt(symmetric_beta(weight_key, alpha, batch))

  def interval(key: jax.Array, length: int) -> jax.Array:
    center = length * jax.random.uniform(key, (batch, 1))
    positions = jnp.arange(length)[None] + 0.5
    return jnp.abs(positions - center) < side[:, None] * length / 2

  inside = interval(row_key, height)[:, :, None] & interval(column_key, width)[:, None, :]
  weight = 1 - inside.mean(axis=(1, 2), dtype=jnp.float32)
  return jnp.where(inside[..., None], others, images), weight
