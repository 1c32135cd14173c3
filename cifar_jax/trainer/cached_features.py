"""The maps of a frozen network, computed once for all images and kept on disk."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from tqdm import tqdm

from cifar_jax.augment.normalize import Normalize
from cifar_jax.data import Examples, Split
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.optim import parameter_groups
from cifar_jax.training.recipe import Recipe
from cifar_jax.utils.array_types import Images, Indices, PerRow, Pixels, RandomKey, Step
from cifar_jax.utils.cache import CacheEntry
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import cache_folder
from cifar_jax.weights.load import digest_of

_FORMAT = 1  # Raise it whenever the same weights and images give other maps.
_BATCH = 32
_NAMES = ('flip', 'policy')  # options of config.augment that name something to do


def are_cached(module: nn.Module) -> bool:
  """Whether training gets maps in place of images."""
  return isinstance(module, Pretrained) and module.features == 'cached'


def keep_maps(
  key: RandomKey, example_key: RandomKey, maps: Pixels | Images, indices: Indices, epoch: Step
) -> Images:
  """The augmentation of cached maps, an `Augmentation`: none."""
  del key, example_key, indices, epoch
  return maps


def pass_maps(normalize: Normalize) -> Normalize:
  """Normalizes images, uint8; maps, float32, pass as they are. (Without cached maps, float32 are
  images in 0..1, as the augmentation gives them.)
  """

  def normalize_images(batch: jax.Array) -> jax.Array:
    return normalize(batch) if batch.dtype == np.uint8 else batch

  return normalize_images


def check(config: ConfigDict, params: Any) -> None:
  """Raises UserError unless nothing in the config changes maps that are computed once.

  Args:
    params: The parameters of the network; shapes are enough.
  """
  flag = "--config.model.features='cached' computes the maps of every image once"
  changing = [
    f'--config.augment.{option}'
    for option, value in config.augment.items()
    if (option in _NAMES and value != 'none') or (type(value) in (bool, int, float) and value)
    if not option.startswith('policy_')
  ]
  if config.evaluate.tta != 'none':
    changing.append('--config.evaluate.tta')
  if changing:
    raise UserError(
      f"{flag}, and {', '.join(changing)} would change them; use 'computed', or switch that off"
    )
  groups = parameter_groups.read(config.optimizer.groups)
  frozen = parameter_groups.frozen_mask(groups)(params)
  if not all(jax.tree.leaves(frozen['base'])):
    raise UserError(
      f"{flag}, so the base must be frozen: set config.optimizer.groups.base = {{'pattern': "
      "'base/.*', 'frozen_from_epoch': 0} in the config file, or use 'computed'"
    )


def make_substitute(recipe: Recipe, variables: Mapping[str, Any]) -> Callable[[Examples], Examples]:
  """Returns split -> what training and its evaluation read in place of it: the split itself, or the
  maps of a frozen base.
  """
  if not are_cached(recipe.module):
    return lambda split: split
  # A copy: the next update reuses the memory of the state, frozen parts included.
  base = {name: {'base': tree['base']} for name, tree in variables.items() if 'base' in tree}
  return functools.partial(cached, recipe, jax.device_get(base))


def cached(recipe: Recipe, variables: Mapping[str, Any], split: Examples) -> Split:
  """A split whose images are maps float32 [N, h, w, C], mapped from disk.

  Args:
    variables: The variables of the base, below 'base' in each collection.
    split: The images, uint8 [N, H, W, 3].

  Raises:
    UserError: no room for them.
  """
  key = hashlib.sha256(digest_of(variables).encode())
  module = recipe.module
  # Two images tell one normalization from another.
  shades = np.stack([np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)])
  facts = [
    _FORMAT,
    module.network,
    module.pooled,
    np.asarray(recipe.normalize(jnp.asarray(shades))).tolist(),
  ]
  key.update(json.dumps([*facts, split.images.shape]).encode())
  key.update(np.ascontiguousarray(split.images).data)
  entry = CacheEntry(cache_folder() / f'features-{key.hexdigest()[:24]}.npy', _read)

  def write(path: pathlib.Path) -> None:
    with path.open('wb') as file:
      np.save(file, _compute(recipe, variables, split.images))

  maps = entry.load_or_store(write, 'the maps', "use --config.model.features='computed'")
  return Split(maps, split.labels)


def _read(path: pathlib.Path) -> np.ndarray:
  return np.load(path, mmap_mode='r', allow_pickle=False).view(np.ndarray)


def _compute(recipe: Recipe, variables: Mapping[str, Any], images: np.ndarray) -> PerRow:
  @jax.jit
  def maps(variables: Mapping[str, Any], batch: jax.Array) -> jax.Array:
    found: Any = recipe.module.apply(variables, recipe.normalize(batch), method='base_maps')
    return found

  parts = []
  with tqdm(total=len(images), desc='maps', unit='image', disable=None, leave=False) as bar:
    for start in range(0, len(images), _BATCH):
      batch = images[start : start + _BATCH]
      filled = np.resize(batch, (_BATCH, *batch.shape[1:]))  # one shape, one compilation
      parts.append(np.asarray(maps(variables, filled))[: len(batch)])
      bar.update(len(batch))
  return np.concatenate(parts)
