"""A trained network, ready to be used: from the folder of a run to probabilities.

Neither the training data nor the optimiser is needed; a run says in about.json what its images and
classes are.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data, models
from cifar_jax.data.normalize import Normalize, of_run
from cifar_jax.errors import UserError
from cifar_jax.optim import averaging
from cifar_jax.run_folder import run_summary
from cifar_jax.run_folder.checkpoint import Checkpoints
from cifar_jax.training.views import mean_logits

BATCH = 256  # images in one dispatch, at most
_PIXELS = 2**21  # in one dispatch: 32 images of 224 x 224, whose maps take some 200 MB


@dataclasses.dataclass(frozen=True)
class Trained:
  """The network of a run as one of its checkpoints holds it.

  Attributes:
    run: the folder.
    config: of the run.
    module: the network.
    variables: its collections 'params' and 'batch_stats'.
    step: updates made.
    class_names: one name a class.
    image_shape: (H, W, C) of the images that it takes.
    normalize: images uint8 [B, H, W, C] as the network takes them, float32.
  """

  run: pathlib.Path
  config: ConfigDict
  module: nn.Module
  variables: Mapping[str, Any]
  step: int
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  normalize: Normalize

  def probabilities(self, images: Any) -> np.ndarray:
    """The softmax over the classes, averaged over the run's test-time views.

    Args:
      images: uint8 [N, H, W, C].

    Returns:
      float32 [N, classes].
    """
    return in_batches(self._probabilities, self.variables, images, len(self.class_names))

  @functools.cached_property
  def _probabilities(self) -> Any:
    return make_probabilities(self.module, self.normalize, self.config.evaluate.get('tta', 'none'))


def make_probabilities(module: nn.Module, normalize: Normalize, tta: str) -> Any:
  """Compiled (variables, images uint8 [B, H, W, C]) -> float32 [B, classes]: the softmax, averaged
  over the test-time views `tta`.
  """

  def probabilities(variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
    def predict(images: jax.Array) -> jax.Array:
      return models.apply(module, variables, images, train=False)

    return jax.nn.softmax(mean_logits(predict, normalize(images), tta))

  return jax.jit(probabilities)


def in_batches(
  probabilities: Any, variables: Mapping[str, Any], images: Any, classes: int
) -> np.ndarray:
  """`probabilities` of `make_probabilities` for any number of images: float32 [N, classes]."""
  parts = [np.zeros((0, classes), np.float32)]
  # A few images need no batch of full size; one size a call means one compilation a call.
  size = min(batch_size(images.shape[1:]), 1 << max(images.shape[0] - 1, 0).bit_length())
  for batch, count in padded_batches(images, size):
    parts.append(np.asarray(probabilities(variables, batch))[:count])
  return np.concatenate(parts)


def load(run: pathlib.Path, checkpoint: str = 'latest', data_dir: str | None = None) -> Trained:
  """Reads a run's network.

  Args:
    run: the folder.
    checkpoint: 'latest', 'best' or a step number.
    data_dir: where the data are now, for a run of an old version that has no about.json.

  Raises:
    UserError: no run there, no such checkpoint.
  """
  config = configs.read(run)
  about = run_summary.read(run, run_summary.ABOUT_NAME)
  if not about:
    splits = load_splits(config, data_dir)
    about = {'class_names': splits.class_names, 'image_shape': splits.image_shape}
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore_variables(checkpoint, averaging.is_evaluated(config.average))
  if restored is None:
    raise UserError(f"{run} has no '{checkpoint}' checkpoint yet; train it first")
  variables, step = restored
  height, width, channels = about['image_shape']
  return Trained(
    run=run,
    config=config,
    module=models.create(config.model, len(about['class_names'])),
    variables=variables,
    step=step,
    class_names=tuple(about['class_names']),
    image_shape=(height, width, channels),
    normalize=of_run(config.data, run),
  )


def load_splits(config: ConfigDict, data_dir: str | None = None) -> data.Splits:
  """The data of a run, perhaps from another folder than that of its config."""
  if data_dir is not None:
    config = config.copy_and_resolve_references().unlock()
    config.data.dir = data_dir
  return data.split(
    data.load(config.data), config.data.validation, config.data.validation_from, config.seed
  )


def batch_size(image_shape: tuple[int, ...]) -> int:
  """Images (H, W, C) in one dispatch: a power of two, at most BATCH and fewer of large ones."""
  pixels = image_shape[0] * image_shape[1]
  return min(BATCH, 1 << max(_PIXELS // pixels, 1).bit_length() - 1)


def padded_batches(images: Any, size: int) -> Iterator[tuple[np.ndarray, int]]:
  """Yields images [N, ...], an array or a stream of them (see `data.Examples`), in batches of one
  size, the last one filled with blanks, and how many of each count.
  """
  for start in range(0, images.shape[0], size):
    batch = np.asarray(images[start : start + size])
    count = len(batch)
    if count < size:
      batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
    yield batch, count


def prediction_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Mean cross-entropy of probabilities float32 [N, classes] and labels [N], without smoothing."""
  chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
  return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))
