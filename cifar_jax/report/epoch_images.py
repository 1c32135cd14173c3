"""Images of a run while it goes on: confusion matrix, misclassified images, augmented samples.

After the dashboard of "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr
Migdał, deepsense.ai, 2017). They are drawn from the state and change nothing in it.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import Splits
from cifar_jax.devices import multihost
from cifar_jax.predict.classifier import in_batches, make_probabilities
from cifar_jax.trainer.session import Callback, Session
from cifar_jax.training.recipe import Recipe
from cifar_jax.training.steps import TrainState, evaluated_variables
from cifar_jax.utils.optional_deps import require


class EpochImages(Callback):
  """What `config.evaluate.images_every_epochs` asks for, drawn by the first process."""

  def __init__(self, config: ConfigDict):
    self._config = config  # not yet checked
    self._probabilities: Any = None

  def due(self, epoch: int) -> bool:
    """Whether there are images after this epoch, counted from 1; after 0 if ever."""
    every = self._config.evaluate.images_every_epochs if self._config.tensorboard else 0
    return every > 0 and epoch % every == 0

  def start(self, session: Session, step: int) -> None:
    """Raises UserError if images are wanted and a package that draws them is missing."""
    if self.due(0):
      require('report', 'matplotlib')

  def end_epoch(self, session: Session, state: TrainState) -> TrainState:
    """Draws them, on one device."""
    step, epoch = int(session.rows[-1]['step']), int(session.rows[-1]['epoch'])
    if self.due(epoch) and multihost.is_main_process():
      recipe = session.trainer.recipe
      variables = jax.device_get(evaluated_variables(recipe, state))
      drawn = self.draw(recipe, session.splits, variables, epoch)
      session.writer.write_images(step, *drawn)
    return state

  def draw(
    self, recipe: Recipe, splits: Splits, variables: Mapping[str, Any], epoch: int
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Runs the network over the validation split.

    Args:
      epoch: Counted from 1.

    Returns:
      Images, name -> uint8 [N, H, W, C]; and texts, name -> Markdown.
    """
    from cifar_jax.analysis import scores
    from cifar_jax.figures import charts, image_utils
    from cifar_jax.report import data_views

    validation, names = splits.validation, splits.class_names
    if self._probabilities is None:  # compiled once per run
      self._probabilities = make_probabilities(recipe.module, recipe.normalize, recipe.tta)
    probabilities = in_batches(self._probabilities, variables, validation.images)
    predicted = probabilities.argmax(1)
    matrix = scores.confusion(validation.labels, predicted, len(names))
    wrong = np.flatnonzero(predicted != validation.labels)  # the first ones, as in the article
    if self._config.evaluate.max_misclassified >= 0:
      wrong = wrong[: self._config.evaluate.max_misclassified]
    random = np.random.default_rng((self._config.seed, epoch))
    images = {
      'confusion_matrix': image_utils.of_figure(charts.heat_map(matrix, names))[None],
      'augmented_samples': data_views.augmented_sheet(self._config, splits.train, random)[None],
    }
    if len(wrong):
      images['misclassified'] = np.asarray(validation.images[wrong])
    described = [
      f'{scores.mistake_title(epoch, names[predicted[index]], names[label])}\n'
      f'{scores.score_lines(probabilities[index], label, names)}'
      for index, label in zip(wrong, validation.labels[wrong].tolist(), strict=True)
    ]
    texts = {
      'confusion_matrix': f'```\n{scores.matrix_text(matrix, names)}\n```',
      'misclassified': '```\n' + '\n\n'.join(described) + '\n```',
    }
    return images, texts
