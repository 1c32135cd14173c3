"""A trained network, ready to be used: from the folder of a run to probabilities.

Neither the training data nor the optimizer is needed; a run says in about.json what its images and
classes are.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data, models
from cifar_jax.augment.normalize import Normalize
from cifar_jax.data.expected import known
from cifar_jax.data.preprocessing import (
  FILE_SOURCES,
  Preprocessing,
  from_facts,
  of_arrays,
  of_folder,
)
from cifar_jax.devices.compilation_cache import keep_compiled_programs
from cifar_jax.optim import averaging
from cifar_jax.predict.run_data import data_at
from cifar_jax.run_dir import model_folder, references, run_files
from cifar_jax.training import tasks
from cifar_jax.training.multi_label import EVEN
from cifar_jax.training.tasks import SINGLE_LABEL, Task
from cifar_jax.training.tta import is_selective, least_confident, mean_logits
from cifar_jax.utils import json_files
from cifar_jax.utils.array_types import Logits, PerRow, Pixels, Probabilities
from cifar_jax.utils.errors import UserError

BATCH = 256  # images in one dispatch


@dataclasses.dataclass(frozen=True)
class Classifier:
  """The network of a run as one of its checkpoints holds it.

  Attributes:
    variables: Its collections 'params' and 'batch_stats'.
    step: The number of updates made.
    image_shape: (H, W, C) of the images that it takes.
    preprocessing: How an image file becomes one of those.
    task: What its outputs mean.
    thresholds: The probability of each class at or above which it is among the labels of an image,
      where an image may have several; () where it has one.
    normalize: Turns images uint8 [B, H, W, C] into what the network takes, float32.
  """

  run: pathlib.Path
  config: ConfigDict
  module: nn.Module
  variables: Mapping[str, Any]
  step: int
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  preprocessing: Preprocessing
  normalize: Normalize
  task: Task = SINGLE_LABEL
  thresholds: tuple[float, ...] = ()

  def probabilities(self, images: Any) -> Probabilities:
    """The probabilities of the classes, by a softmax or of each by itself as `task` says, averaged
    over the run's test-time views.

    Args:
      images: uint8 [N, H, W, C], from 0 to 255, of the shape `image_shape`.

    Returns:
      float32 [N, classes].

    Raises:
      UserError: the images are others, of which the network would make something without meaning.
    """
    images = images if isinstance(images, jax.Array) else np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
      shape = ', '.join(map(str, self.image_shape))
      raise UserError(
        f'the network of {self.run} takes images uint8 [N, {shape}] from 0 to 255, not '
        f'{images.dtype} {list(images.shape)}'
      )
    return in_batches(self._probabilities, self.variables, images)

  def probabilities_of_set(self, images: Any) -> Probabilities:
    """As `probabilities`, of a whole set, as evaluation sees it: of a run with
    `config.evaluate.tta_fraction` below 1 not all images are seen in all views.
    """
    return self._probabilities_of_set(self.variables, images)

  def logits_of_set(self, images: Any) -> Probabilities:
    """The logits, averaged over the run's test-time views, of images as `in_batches` takes them."""
    return in_batches(self._logits, self.variables, images)

  @functools.cached_property
  def _logits(self) -> Any:
    return make_outputs(
      self.module, self.normalize, self.config.evaluate.tta, lambda logits: logits
    )

  @functools.cached_property
  def _probabilities(self) -> Any:
    tta = self.config.evaluate.tta
    return make_outputs(self.module, self.normalize, tta, self.task.probabilities)

  @functools.cached_property
  def _probabilities_of_set(self) -> Callable[..., Probabilities]:
    evaluate = self.config.evaluate
    return make_set_probabilities(
      self.module, self.normalize, evaluate.tta, evaluate.tta_fraction, self.task
    )


def make_outputs(
  module: nn.Module, normalize: Normalize, tta: str, outputs: Callable[[Logits], Logits]
) -> Any:
  """Compiled (variables, images uint8 [B, H, W, C]) -> float32 [B, classes]: what `outputs` makes
  of the logits, which are averaged over the test-time views `tta`.
  """

  def compute(variables: Mapping[str, Any], images: Pixels) -> jax.Array:
    def predict(images: jax.Array) -> jax.Array:
      return models.apply(module, variables, images, train=False)

    return outputs(mean_logits(predict, normalize(images), tta))

  return jax.jit(compute)


def make_set_probabilities(
  module: nn.Module,
  normalize: Normalize,
  tta: str,
  tta_fraction: float,
  task: Task = SINGLE_LABEL,
) -> Callable[[Mapping[str, Any], Any], Probabilities]:
  """(variables, images) -> the probabilities of a whole set, the least confident `tta_fraction` of
  it over the views `tta`, the others of the images as they are; images as `in_batches` takes them.
  """
  over_views = make_outputs(module, normalize, tta, task.probabilities)
  if not is_selective(tta, tta_fraction):
    return functools.partial(in_batches, over_views)
  plain = make_outputs(module, normalize, 'none', task.probabilities)

  def probabilities(variables: Mapping[str, Any], images: Any) -> Probabilities:
    found = in_batches(plain, variables, images)
    chosen = least_confident(found.max(axis=1), tta_fraction)
    if len(chosen):
      found[chosen] = in_batches(over_views, variables, images, chosen)
    return found

  return probabilities


def in_batches(
  function: Any, variables: Mapping[str, Any], images: Any, chosen: np.ndarray | None = None
) -> PerRow:
  """A compiled (variables, images uint8 [B, H, W, C]) -> float32 [B, ...] for N images.

  The images, uint8 [N, H, W, C], are an array or a stream of them (see `data.Examples`); `chosen`
  are the indices of those that are wanted, None: all.
  """
  count = images.shape[0] if chosen is None else len(chosen)
  # A few images need no batch of full size; one size per call means one compilation per call.
  size = min(batch_size(images.shape[1:]), 1 << max(count - 1, 0).bit_length())
  parts = []
  for start in range(0, max(count, 1), size):
    rows = slice(start, start + size)
    batch = np.asarray(images[rows if chosen is None else chosen[rows]])
    filled = np.resize(batch, (size, *batch.shape[1:]))
    parts.append(np.asarray(function(variables, filled))[: len(batch)])
  return np.concatenate(parts)


def batch_size(image_shape: Sequence[int]) -> int:
  """Images (H, W, C) in one dispatch."""
  return data.images_per_batch(image_shape, BATCH)


def load(
  run: str | pathlib.Path, checkpoint: str = 'latest', data_dir: str | None = None
) -> Classifier:
  """Reads a run's network.

  Args:
    run: Its folder, a model folder, or what names one: 'zoo:NAME', 'hub:OWNER/NAME'.
    checkpoint: 'latest', 'best' or a step number.
    data_dir: Where the data are now, for a run of an old version that has no about.json.

  Raises:
    UserError: no run there, no such checkpoint.
  """
  keep_compiled_programs()
  run = references.resolve(run)
  config = configs.read(run)
  about = run_files.read_about(run)
  if not about:
    splits = data_at(config, data_dir)
    about = {'class_names': splits.class_names, 'image_shape': splits.image_shape}
    if splits.preprocessing is not None:
      about['preprocessing'] = dataclasses.asdict(splits.preprocessing)
  model_folder.check_class_names(run, about['class_names'])
  averaged = averaging.is_evaluated(config.weight_averaging)
  variables, step = model_folder.read_variables(run, checkpoint, averaged)
  height, width, channels = about['image_shape']
  try:
    module = models.create(config.model, len(about['class_names']))
  except UserError as error:  # which names an option, as if it had been typed
    raise UserError(f'{run / configs.CONFIG_NAME}: {error}', error.details) from None
  check_fits(module, variables, (height, width, channels), run)
  task = tasks.of_about(about)
  return Classifier(
    run=run,
    config=config,
    module=module,
    variables=variables,
    step=step,
    class_names=tuple(about['class_names']),
    image_shape=(height, width, channels),
    preprocessing=_preprocessing(run, config, about, data_dir),
    normalize=run_files.load_normalization(run, config.data),
    task=task,
    thresholds=thresholds_of(run, checkpoint, task, len(about['class_names'])) or (),
  )


def thresholds_of(
  run: pathlib.Path, checkpoint: str, task: Task, classes: int
) -> tuple[float, ...] | None:
  """The thresholds of a run's labels: those that were chosen with a checkpoint, or 1/2; None where
  images have one label.

  Raises:
    UserError: they are damaged.
  """
  if task.measure is None:
    return None
  found = model_folder.thresholds(run, checkpoint)
  if found is not None and len(found) != classes:
    raise UserError(f'{run} has {len(found)} thresholds for {classes} labels; restore its files')
  return (EVEN,) * classes if found is None else found


def _preprocessing(
  run: pathlib.Path, config: ConfigDict, about: Mapping[str, Any], data_dir: str | None
) -> Preprocessing:
  """How images become inputs: what the run wrote down, or, for an older one, what its config and
  its data say.
  """
  height, width, channels = about['image_shape']
  if 'preprocessing' in about:
    try:
      found = from_facts(about['preprocessing'])
    except ValueError as error:
      raise json_files.damaged(run / run_files.ABOUT, str(error)) from None
  elif older := preprocessing_of_older_run(config.data, (height, width, channels)):
    found = older
  else:
    try:
      splits = data_at(config, data_dir)
    except UserError as error:
      raise UserError(
        f'{run} does not say how large its images are inside the border of --config.data.pad_to='
        f'{config.data.pad_to}, and its data cannot be read ({error}); give them by --data_dir'
      ) from None
    assert splits.preprocessing is not None
    found = splits.preprocessing
  if found.shape != (height, width, channels):
    raise json_files.damaged(run / run_files.ABOUT, 'image_shape and preprocessing differ')
  return found


def preprocessing_of_older_run(
  data_config: ConfigDict, image_shape: tuple[int, int, int]
) -> Preprocessing | None:
  """Returns how a run that did not write it down made its inputs; None where only its data can
  tell.
  """
  if data_config.name in FILE_SOURCES:
    return of_folder(data_config)
  height, width, channels = image_shape
  said = known(data_config)
  if data_config.pad_to:
    return of_arrays(data_config, said.image_shape) if said else None
  gray = data_config.channels == 3 and said is not None and said.image_shape[2] == 1
  return of_arrays(data_config, (height, width, 1 if gray else channels))


def check_fits(
  module: nn.Module,
  variables: Mapping[str, Any],
  image_shape: tuple[int, int, int],
  run: pathlib.Path,
) -> None:
  """Raises UserError where what a run says about its network is not what its weights are of."""
  apply = functools.partial(models.apply, module, train=False)
  try:
    jax.eval_shape(apply, variables, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  except (FlaxError, TypeError, ValueError) as error:
    path, reason = run / configs.CONFIG_NAME, ' '.join(str(error).split())[:200]
    raise UserError(
      f'{path} or {run_files.ABOUT} beside it is not of the network that the weights are of '
      f'({reason}); {json_files.remedy(path)}'
    ) from None
