"""Data sets of arrays made to fit a network, and what image files must become for it."""

import dataclasses

from ml_collections import ConfigDict

from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.named import known
from cifar_jax.data.preprocessing import Preprocessing, of_arrays, of_folder


def adapt(dataset: Dataset, data_config: ConfigDict) -> Dataset:
  """Applies `config.data.channels` and `config.data.pad_to` to all images of a data set of arrays.

  Args:
    dataset: as its source delivers it.
    data_config: `channels`: 1 makes colors grey, 3 repeats grey, 0 leaves the images as they are;
      `pad_to`: side in pixels of the square in whose middle each image is put, 0 for none.

  Returns:
    The data set, which knows its preprocessing.

  Raises:
    UserError: the images have another number of channels, or are larger than the square.
  """
  preprocessing = of_arrays(data_config, dataset.train.images.shape[1:])

  def change(split: Split) -> Split:
    return Split(preprocessing.finish(split.images), split.labels)

  return dataclasses.replace(
    dataset,
    train=change(dataset.train),
    test=change(dataset.test),
    validation=None if dataset.validation is None else change(dataset.validation),
    preprocessing=preprocessing,
  )


def of_older_run(
  data_config: ConfigDict, image_shape: tuple[int, int, int]
) -> Preprocessing | None:
  """The preprocessing of a run that did not write it down, or None where only its data can tell.

  Args:
    data_config: of the run.
    image_shape: (H, W, C) of the network's inputs.
  """
  if data_config.name == 'folder':
    return of_folder(data_config)
  height, width, channels = image_shape
  said = known(data_config)
  if data_config.pad_to:
    return of_arrays(data_config, said.image_shape) if said else None
  gray = data_config.channels == 3 and said is not None and said.image_shape[2] == 1
  return of_arrays(data_config, (height, width, 1 if gray else channels))
