"""Images of a data set: samples of each class, random ones, what augmentation makes of them."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.augment import make_augment, make_mix
from cifar_jax.augment.normalize import channel_moments, scale
from cifar_jax.data import statistics
from cifar_jax.data.dataset import Dataset, Split, has_label, label_text
from cifar_jax.figures import charts, files, image_utils
from cifar_jax.utils.array_types import Image, Sheet
from cifar_jax.utils.files import make_folder
from cifar_jax.utils.optional_deps import require

_DRAWS = 8  # of the augmentation, per image
_CLASSES = 20  # shown at most in the sample grids


def write_views(config: ConfigDict, folder: pathlib.Path) -> str:
  """Writes a page with the views of a config's data, and its images; returns facts as text.

  Args:
    config: The config, of which the sections `data` and `augment` and the seed are used.
    folder: The folder for index.html and the images; it is made if missing.

  Raises:
    UserError: no data, a package is missing, the folder cannot be written.
  """
  require('report', 'matplotlib', 'jinja2')
  dataset = data.load(config.data)
  make_folder(folder)
  text = facts(dataset)
  random = np.random.default_rng(config.seed)
  names = dataset.class_names[:_CLASSES]
  by_class = [class_samples(dataset.train, label, 10, random) for label in range(len(names))]

  def figure(name: str, drawn: Any) -> str:
    return files.save_figure(drawn, folder, name)

  firsts = [images[0] for images in by_class]
  chosen = random.choice(len(dataset.train), min(24, len(dataset.train)), replace=False)
  sheet = augmented_sheet(config, dataset.train, random)
  image_utils.save(sheet, folder / 'augmentation.png')
  counts = statistics.class_counts(dataset.train, len(dataset.class_names))
  content = {
    'title': f'{dataset.name}: the data',
    'facts': text,
    'one_each': figure('classes_2x5', titled_grid(firsts, names, columns=5)),
    'ten_each': figure('classes_10x10', labeled_rows(by_class, names)),
    'random': figure(
      'random_24',
      titled_grid(
        list(dataset.train.images[chosen]),
        [label_text(label, dataset.class_names) for label in dataset.train.labels[chosen]],
        columns=8,
      ),
    ),
    'balance': figure('balance', charts.counts(counts, dataset.class_names)),
    'augmentation': image_utils.data_uri(sheet),
    'augment': config.augment.to_json(indent=2),
  }
  files.write_page(folder / 'index.html', 'data.html', content)
  return text


def facts(dataset: Dataset) -> str:
  """Shapes, counts, balance, mean and standard deviation, duplicates: lines for the terminal."""
  repeated = statistics.duplicates(dataset)
  lines = [f'{dataset.name} from {dataset.source}']
  present = {name: split for name, split in dataset.splits.items() if len(split)}
  for name, split in present.items():
    counts = statistics.class_counts(split, len(dataset.class_names))
    lines += [
      f'X_{name} shape: {split.images.shape}',
      f'{len(split)} {name} samples, {counts.min()} to {counts.max()} a class',
    ]
  mean, std = channel_moments(dataset.train.images)
  lines += [
    f'mean {_numbers(mean)}, standard deviation {_numbers(std)} of the training pixels / 255',
    f'exact duplicates: {_duplicates(repeated)}',
  ]
  width = max(len(name) for name in dataset.class_names)
  columns = [statistics.class_counts(split, len(dataset.class_names)) for split in present.values()]
  lines += ['', f'{"class":>{width}}' + ''.join(f'{name:>11}' for name in present)]
  for name, *numbers in zip(dataset.class_names, *columns, strict=True):
    lines.append(f'{name:>{width}}' + ''.join(f'{number:>11}' for number in numbers))
  lines += dataset.notes
  return '\n'.join(lines)


def _duplicates(found: statistics.Duplicates) -> str:
  within = [f'{count} within {name}' for name, count in found.within.items()]
  across = [f'{count} of {later} also in {name}' for (name, later), count in found.across.items()]
  return ', '.join([*within, *across, f'{found.contradictions} with two labels'])


def class_samples(split: Split, label: int, count: int, random: np.random.Generator) -> list[Image]:
  """`count` random images of a class, fewer if it has fewer; a blank one if it has none."""
  indices = np.flatnonzero(has_label(split.labels, label))
  if not len(indices):
    return [np.zeros(split.images.shape[1:], np.uint8)]
  return list(split.images[random.choice(indices, min(count, len(indices)), replace=False)])


@charts.styled
def titled_grid(images: Sequence[Image], titles: Sequence[str], columns: int) -> Any:
  """Images with a title above each, without ticks; ten in two rows of five are 8 x 3 inches, as in
  "CIFAR-10 classification using Keras Tutorial" (plon.io, 2017).
  """
  rows = -(-len(images) // columns)
  made, axes = charts.figure(
    1.6 * columns, 1.5 * rows + 0.3, nrows=rows, ncols=columns, squeeze=False
  )
  for axis in axes.flat:
    axis.axis('off')
  for axis, image, title in zip(axes.flat, images, titles, strict=False):
    _show(axis, image)
    axis.set_title(title, fontsize=10)
  return made


@charts.styled
def labeled_rows(by_class: Sequence[Sequence[Image]], names: Sequence[str]) -> Any:
  """One row of images per class, with its name at the left."""
  columns = max(len(images) for images in by_class)
  made, axes = charts.figure(
    0.62 * columns + 1.6, 0.66 * len(names), nrows=len(names), ncols=columns, squeeze=False
  )
  for row, (images, name) in enumerate(zip(by_class, names, strict=True)):
    for axis in axes[row]:
      axis.axis('off')
    for axis, image in zip(axes[row], images, strict=False):
      _show(axis, image)
    axes[row][0].text(
      -0.2, 0.5, name, transform=axes[row][0].transAxes, ha='right', va='center', fontsize=11
    )
  return made


def augmented_sheet(config: ConfigDict, train: data.Examples, random: np.random.Generator) -> Sheet:
  """A contact sheet: six images, each beside eight draws of the augmentation.

  Args:
    config: The config, of which the section `augment` and the seed are used.
  """
  chosen = random.choice(len(train), min(6, len(train)), replace=False)
  originals = np.asarray(train.images[chosen])
  augment, example_key = make_augment(config.augment, scale), jax.random.key(config.seed)
  mix, indices = make_mix(config.augment), jnp.asarray(chosen, jnp.int32)
  drawn = []
  for draw in range(_DRAWS):
    key = jax.random.key(draw)
    epoch = jnp.asarray(config.augment.from_epoch + draw, jnp.int32)
    images = augment(key, example_key, jnp.asarray(originals), indices, epoch)
    drawn.append(np.asarray(images if mix is None else mix(key, images, None).images))
  sheet: list[np.ndarray] = []
  for row, original in enumerate(originals):
    sheet.append(original)
    sheet += [np.clip(np.round(255 * views[row]), 0, 255).astype(np.uint8) for views in drawn]
  return image_utils.enlarge(
    image_utils.grid(sheet, _DRAWS + 1, gap=2), max(1, 96 // originals.shape[1])
  )


def _numbers(values: np.ndarray) -> str:
  return f'({", ".join(f"{value:.4f}" for value in values)})'


def _show(axis: Any, image: Image) -> None:
  axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap='gray', vmin=0, vmax=255)
