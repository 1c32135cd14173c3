"""Images of what is inside a network: filters, feature maps, saliency."""

import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.analysis import attribution
from cifar_jax.analysis.scores import with_article
from cifar_jax.data import Examples, label_text
from cifar_jax.figures import image_utils
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.array_types import HostKernel, Probabilities, Sheet

_LOOKS = 6
_MAPS = 32  # of a layer, at most
_LAYERS = 24  # whose maps are shown, at most
_WIDTH = 900  # pixels of a page


def inspect_network(
  network: Classifier,
  split: Examples,
  probabilities: Probabilities,
  image: int,
  folder: pathlib.Path,
) -> dict[str, Any]:
  """What the report's section "Inside" shows; the images are written into `folder` too.

  Args:
    image: The index in the split of the image whose feature maps are shown.
  """
  layers = attribution.map_layers(network.module, network.variables, network.image_shape)
  chosen = _spread(list(layers), _LAYERS)
  return {
    'filters': _filters(network, folder),
    'looks': _looks(network, split, probabilities, folder),
    'cam_layer': _last_map(layers),
    'chosen': f'image {image}, {_named(network, split.labels[image])}',
    'feature_maps': _feature_maps(network, split.images[image : image + 1], chosen, folder),
    'maps_remark': f'{len(chosen)} of {len(layers)} layers' if len(chosen) < len(layers) else '',
  }


def _named(network: Classifier, label: np.ndarray) -> str:
  """'a cat', or 'cat, outdoor' of several labels."""
  text = label_text(label, network.class_names)
  return with_article(text) if label.ndim == 0 else text


def first_kernel(
  variables: Any, image_shape: tuple[int, int, int]
) -> tuple[str, HostKernel] | None:
  """Path and kernel of the first convolution of images, if there is one, or of the dense layer on
  their pixels (H, W, C), whose units then are filters as large as an image.
  """
  leaves = jax.tree_util.tree_flatten_with_path(variables['params'])[0]
  dense = None
  for path, leaf in leaves:
    name = jax.tree_util.keystr(path[:-1], simple=True, separator='/')
    if leaf.ndim == 4 and leaf.shape[2] in (1, 3) and leaf.shape[0] * leaf.shape[1] > 1:
      return name, np.asarray(leaf)
    if dense is None and leaf.ndim == 2 and leaf.shape[0] == math.prod(image_shape):
      dense = name, np.asarray(leaf).reshape(*image_shape, -1)
  return dense


def filter_images(kernel: HostKernel) -> list[Sheet]:
  """An image of each filter; 0 is mid-gray, one scale for all."""
  limit = max(float(np.abs(kernel).max()), 1e-12)
  scaled = np.round(127.5 + 127.5 * kernel / limit).astype(np.uint8)
  return list(np.moveaxis(scaled, -1, 0))


def make_explanation(
  network: Classifier,
) -> Callable[[np.ndarray, np.ndarray], list[list[np.ndarray]]]:
  """What the class of an image depends on, as images.

  Returns:
    A function of images uint8 [B, H, W, C] and classes int [B], whose logits are explained. It
    gives for each image uint8 [H, W, 3]: the saliency, and Grad-CAM over the image at
    `cam_layer(network)` where there is one. It is compiled once for each B.
  """
  layer = cam_layer(network)

  @jax.jit  # without it every operation of the backward pass is compiled by itself
  def measure(variables: Any, images: jax.Array, classes: jax.Array) -> list[jax.Array]:
    inputs = network.normalize(images)
    found = [attribution.saliency(network.module, variables, inputs, classes)]
    if layer:
      found.append(attribution.grad_cam(network.module, variables, inputs, classes, layer))
    return found

  def explanation(images: np.ndarray, classes: np.ndarray) -> list[list[np.ndarray]]:
    found = measure(network.variables, jnp.asarray(images), jnp.asarray(classes, jnp.int32))
    slopes, *heats = (np.asarray(each) for each in found)
    explained = [[image_utils.colored(np.sqrt(slope), 'inferno')] for slope in slopes]
    for heat_of_each in heats:
      for image, heat, shown in zip(images, heat_of_each, explained, strict=True):
        shown.append(image_utils.overlay(image, heat))
    return explained

  return explanation


def cam_layer(network: Classifier) -> str | None:
  """The last layer with maps, where Grad-CAM looks."""
  return _last_map(attribution.map_layers(network.module, network.variables, network.image_shape))


def _last_map(layers: dict[str, tuple[int, int, int]]) -> str | None:
  """The last one of at least 4 x 4 positions: fewer say nothing about where."""
  return next((path for path, shape in reversed(layers.items()) if min(shape[:2]) >= 4), None)


def _spread(layers: list[str], count: int) -> list[str]:
  """At most `count` of the layers, evenly spread, the first and the last among them."""
  if len(layers) <= count:
    return layers
  return [layers[round(position)] for position in np.linspace(0, len(layers) - 1, count)]


def _filters(network: Classifier, folder: pathlib.Path) -> dict[str, Any] | None:
  found = first_kernel(network.variables, network.image_shape)
  if found is None:
    return None
  name, kernel = found
  filters = filter_images(kernel)
  height, width, channels, count = kernel.shape
  columns = min(count, 16 if width < network.image_shape[1] else 5)
  sheet = image_utils.enlarge(
    image_utils.grid(filters, columns), max(2, round(640 / (columns * width)))
  )
  what = f'{count} filters of {height} by {width} by {channels}; mid-gray is 0, all on one scale.'
  return _saved(sheet, folder / 'filters.png', name, what)


def _looks(
  network: Classifier, split: Examples, probabilities: np.ndarray, folder: pathlib.Path
) -> list[dict[str, Any]]:
  """Three confident hits and three confident mistakes."""
  predicted = probabilities.argmax(1)
  right = network.task.is_right(predicted, split.labels)
  order = np.argsort(-probabilities.max(1), kind='stable')
  half = _LOOKS // 2
  indices = np.concatenate([order[right[order]][:half], order[~right[order]][:half]])
  images = split.images[indices]
  shown = make_explanation(network)(images, predicted[indices])
  examples, sheet = [], []
  for index, image, explained in zip(indices, images, shown, strict=True):
    colored = image_utils.rgb(image)
    sheet += [colored, *explained]
    truth = label_text(split.labels[index], network.class_names)
    verdict = 'right' if right[index] else f'in truth {truth}'
    examples.append(
      {
        'images': [image_utils.data_uri(each) for each in (colored, *explained)],
        'caption': f'{network.class_names[predicted[index]]} '
        f'{100 * probabilities[index].max():.1f} %, {verdict}',
      }
    )
  image_utils.save(image_utils.sheet(sheet, len(sheet) // len(indices)), folder / 'saliency.png')
  return examples


def _feature_maps(
  network: Classifier, image: np.ndarray, layers: list[str], folder: pathlib.Path
) -> list[dict[str, Any]]:
  """Sheets of the maps of `layers`, for one image uint8 [1, H, W, C]."""

  @jax.jit
  def measure(variables: Any, image: jax.Array) -> dict[str, jax.Array]:
    outputs = attribution.layer_outputs(network.module, variables, network.normalize(image))
    return {path: outputs[path] for path in layers}

  outputs = measure(network.variables, jnp.asarray(image))
  sheets = []
  for number, path in enumerate(layers, start=1):
    maps = np.asarray(outputs[path][0], np.float32)
    height, width, count = maps.shape
    shown = [image_utils.colored(maps[..., channel]) for channel in range(min(count, _MAPS))]
    columns = min(len(shown), 16)
    sheet = image_utils.enlarge(
      image_utils.grid(shown, columns, blank=128), max(1, round(_WIDTH / (columns * (width + 1))))
    )
    of = f'the first {len(shown)} of {count}' if count > len(shown) else f'{count}'
    what = f'{path}: {of} maps of {height} by {width}, each on its own scale.'
    file = folder / f'maps_{number:02}_{path.replace("/", "_")}.png'
    sheets.append(_saved(sheet, file, path, what))
  return sheets


def _saved(sheet: np.ndarray, file: pathlib.Path, name: str, caption: str) -> dict[str, Any]:
  """Writes a sheet of images, and describes it for the page."""
  address = image_utils.save(sheet, file)
  return {'name': name, 'image': address, 'width': sheet.shape[1], 'caption': caption}
