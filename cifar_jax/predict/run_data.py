"""The data that a run is measured on: with its classes, and known to be what it was trained on.

Labels are numbers, and which images are held out of training follows from their number and order.
So other data can give a wrong accuracy that looks like a right one; here they are told apart.
"""

import dataclasses
import pathlib

import numpy as np
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.training import tasks
from cifar_jax.training.tasks import Task
from cifar_jax.utils.errors import UserError

OTHER_DATA = 'its training images are not those of the run'


def data_at(config: ConfigDict, data_dir: str | None = None) -> data.Splits:
  """The data that a run's config names, perhaps moved; `load_known` tells whether they are its own.

  Args:
    data_dir: Where the data are now, in place of `config.data.dir`.

  Raises:
    UserError: no data; the message names the flag of the commands on runs, --data_dir, and the
      folder of the config as the run's.
  """
  if data_dir is not None:
    config = config.copy_and_resolve_references().unlock()
    config.data.dir = data_dir
  try:
    return data.load_splits(config)
  except UserError as error:
    message, own = str(error), '--config.data.dir='
    if data_dir is None and message.startswith(own):
      message = f"the run's data.dir={message.removeprefix(own)}"
    message = message.replace('--config.data.dir', '--data_dir')
    if '--data_dir' not in message:
      message = f'{message.removesuffix(".")}; --data_dir says where the data are now'
    raise UserError(message, error.details) from error


def usual_split(run: pathlib.Path) -> str:
  """The split that a run is measured on unless another one is asked for: 'test', or 'validation'
  where the run leaves the test set unopened.
  """
  return 'test' if configs.read(run).evaluate.test else 'validation'


def load_known(
  run: pathlib.Path, config: ConfigDict, split: str, data_dir: str | None = None
) -> data.Splits:
  """The data of a run, for a use of one of their splits.

  Args:
    split: 'train', 'validation' or 'test': what will be used.
    data_dir: The folder of the data in place of the config's data.dir.

  Returns:
    The splits, with the run's numbering of the classes and, as in training, the validation images
    that `evaluate.drop_remainder` leaves. Where the run was trained on other images, `remarks` say
    so.

  Raises:
    UserError: no data; classes that the run does not have; images of another shape; or a split
      that may hold other images than that of the run, such as some that it was trained on.
  """
  splits = data_at(config, data_dir)
  about = run_files.read_about(run)
  if about.get('class_names'):  # runs of old versions have no about.json
    splits = data.renumbered(splits, about['class_names'])
  shape = about.get('image_shape')
  if shape and tuple(shape) != splits.image_shape:
    raise UserError(
      f'{splits.source} holds images of the shape {list(splits.image_shape)}, but the run was '
      f'trained on the shape {list(shape)}; give it data with images of that shape'
    )
  if about:
    check_task(tasks.of_about(about), splits.train.labels, splits.source)
  if splits.are_those_of(model_folder.data_facts(run)):
    return splits
  held_out = splits.held_out and (split == 'validation' or not splits.has_test)
  if split == 'train' or held_out:
    remedy = ', or use --split=test' if splits.has_test else ''
    raise UserError(
      f'{run} was trained on other data than {splits.source} holds now, so that its {split} images '
      f'are not those of the run, and may be some that it was trained on; give it back its data'
      f'{remedy}'
    )
  return dataclasses.replace(splits, remarks=(*splits.remarks, OTHER_DATA))


def check_task(own: Task, labels: np.ndarray, source: str) -> None:
  """Raises UserError where data have one label an image and a run several, or the other way."""
  found = tasks.of_labels(labels)
  if found is not own:
    has, wants = ('several labels', 'one') if found.measured else ('one label', 'several')
    raise UserError(
      f'the images of {source} have {has} each, and the run was trained on images with {wants}; '
      'give it data with labels as its own'
    )
