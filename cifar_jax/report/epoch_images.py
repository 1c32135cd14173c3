"""Pictures of a run while it goes on: confusion matrix, misclassified images, augmented samples.

After the dashboard of "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr
Migdał, deepsense.ai, 2017). They are drawn from the state and change nothing in it.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax.augment.normalize import Normalize
from cifar_jax.data import Splits
from cifar_jax.predict.classifier import in_batches, make_probabilities
from cifar_jax.utils.optional_deps import require


class EpochPictures:
  """What `config.evaluate.pictures_every_epochs` asks for."""

  def __init__(self, config: ConfigDict, module: nn.Module, normalize: Normalize, splits: Splits):
    """Raises UserError if pictures are wanted and a package that draws them is missing."""
    self._config = config
    self._splits = splits
    self._module = module
    self._normalize = normalize
    self._every = config.evaluate.pictures_every_epochs if config.tensorboard else 0
    if self._every:
      require('look', 'matplotlib', 'PIL')

  def due(self, epoch: int) -> bool:
    """Whether there are pictures after this epoch, counted from 1."""
    return self._every > 0 and epoch % self._every == 0

  def draw(
    self, variables: Mapping[str, Any], epoch: int
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Runs the network over the validation split.

    Args:
      variables: the collections 'params' and 'batch_stats'.
      epoch: counted from 1.

    Returns:
      Pictures, name -> uint8 [N, H, W, C]; and texts, name -> Markdown.
    """
    from cifar_jax.analysis import scores
    from cifar_jax.figures import charts, image_utils
    from cifar_jax.report import data_views

    validation, names = self._splits.validation, self._splits.class_names
    probabilities = in_batches(
      self._probabilities, jax.device_get(variables), validation.images, len(names)
    )
    predicted = probabilities.argmax(1)
    matrix = scores.confusion(validation.labels, predicted, len(names))
    wrong = np.flatnonzero(predicted != validation.labels)  # the first ones, as in the article
    if self._config.evaluate.mistakes >= 0:
      wrong = wrong[: self._config.evaluate.mistakes]
    random = np.random.default_rng((self._config.seed, epoch))
    pictures = {
      'confusion_matrix': image_utils.of_figure(charts.heat_map(matrix, names))[None],
      'augmented_samples': data_views.augmented_sheet(self._config, self._splits.train, random)[
        None
      ],
    }
    if len(wrong):
      pictures['misclassified'] = np.asarray(validation.images[wrong])
    described = [
      f'{scores.mistake_title(epoch, names[predicted[index]], names[validation.labels[index]])}\n'
      f'{scores.score_lines(probabilities[index], validation.labels[index], names)}'
      for index in wrong
    ]
    texts = {
      'confusion_matrix': f'```\n{scores.matrix_text(matrix, names)}\n```',
      'misclassified': '```\n' + '\n\n'.join(described) + '\n```',
    }
    return pictures, texts

  @functools.cached_property
  def _probabilities(self) -> Any:
    return make_probabilities(self._module, self._normalize, self._config.evaluate.tta)
