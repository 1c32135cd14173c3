"""Images of a run while it goes on: confusion matrix, misclassified images, augmented samples.

After the dashboard of "Starting deep learning hands-on: image classification on CIFAR-10" (Piotr
Migdał, deepsense.ai, 2017). They are drawn from the state and change nothing in it.
"""

import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import Splits
from cifar_jax.devices import multihost
from cifar_jax.predict.classifier import make_set_probabilities
from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training.steps import TrainState, evaluated_variables
from cifar_jax.utils.array_types import Probabilities
from cifar_jax.utils.optional_deps import require


class EpochImages(Callback):
  """What `config.evaluate.images_every_epochs` asks for, drawn by the first process."""

  def __init__(self, config: ConfigDict):
    self._config = config  # not yet checked
    self._predict: Any = None

  def due(self, epoch: int) -> bool:
    """Whether there are images after this epoch, counted from 1; after 0 if ever."""
    every = self._config.evaluate.images_every_epochs if self._config.tensorboard else 0
    return every > 0 and epoch % every == 0

  def start(self, session: RunSession, step: int) -> None:
    """Raises UserError if images are wanted and a package that draws them is missing."""
    if self.due(0):
      require('report', 'matplotlib')

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Runs the network over the validation split, on one device, and has the rest done later."""
    step, epoch = int(session.rows[-1]['step']), int(session.rows[-1]['epoch'])
    if self.due(epoch) and multihost.is_main_process():
      recipe, splits = session.trainer.recipe, session.splits
      if self._predict is None:  # compiled once per run
        self._predict = make_set_probabilities(
          recipe.module, recipe.normalize, recipe.tta, recipe.tta_fraction
        )
      of_all_devices = evaluated_variables(recipe, state)
      variables = jax.tree.map(lambda array: array.addressable_data(0), of_all_devices)
      probabilities = self._predict(variables, splits.validation.images)
      session.writer.write_images(step, functools.partial(self.draw, splits, probabilities, epoch))
    return state

  def draw(
    self, splits: Splits, probabilities: Probabilities, epoch: int
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Draws what the network makes of the validation split; needs no state, so any time will do.

    Args:
      probabilities: Of each image of the validation split.
      epoch: Counted from 1.

    Returns:
      Images, name -> uint8 [N, H, W, C]; and texts, name -> Markdown.
    """
    from cifar_jax.analysis import scores
    from cifar_jax.figures import charts, image_utils
    from cifar_jax.report import data_views

    validation, names = splits.validation, splits.class_names
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
