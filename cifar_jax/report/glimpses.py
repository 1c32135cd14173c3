"""Pictures of what is inside a network: filters, feature maps, saliency."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.anatomy import inside
from cifar_jax.data import Examples
from cifar_jax.inference.trained import Trained
from cifar_jax.report import pixels

_LOOKS = 6
_MAPS = 32  # of a layer, at most
_WIDTH = 900  # pixels of a page


def glimpses(
  network: Trained, split: Examples, probabilities: np.ndarray, image: int, folder: pathlib.Path
) -> dict[str, Any]:
  """What the report's section "Inside" shows; the pictures are written into `folder` too.

  Args:
    network: of the run.
    split: what it was judged on.
    probabilities: float32 [N, classes], of the split.
    image: place in the split of the one whose maps are shown.
    folder: of the report.
  """
  layers = inside.map_layers(network.module, network.variables, network.image_shape)
  return {
    'filters': _filters(network, folder),
    'looks': _looks(network, split, probabilities, _last_map(layers), folder),
    'cam_layer': _last_map(layers),
    'chosen': f'image {image}, a {network.class_names[split.labels[image]]}',
    'feature_maps': _feature_maps(network, split.images[image : image + 1], list(layers), folder),
  }


def first_kernel(variables: Any) -> tuple[str, np.ndarray] | None:
  """Path and float32 [kh, kw, C, filters] of the first convolution of images, if there is one."""
  leaves = jax.tree_util.tree_flatten_with_path(variables['params'])[0]
  for path, leaf in leaves:
    if leaf.ndim == 4 and leaf.shape[2] in (1, 3) and leaf.shape[0] * leaf.shape[1] > 1:
      return jax.tree_util.keystr(path[:-1], simple=True, separator='/'), np.asarray(leaf)
  return None


def filter_pictures(kernel: np.ndarray) -> list[np.ndarray]:
  """float [kh, kw, C, filters] -> uint8 [kh, kw, C] each; 0 is mid-grey, one scale for all."""
  limit = max(float(np.abs(kernel).max()), 1e-12)
  scaled = np.round(127.5 + 127.5 * kernel / limit).astype(np.uint8)
  return list(np.moveaxis(scaled, -1, 0))


def explanation(
  network: Trained, images: np.ndarray, classes: np.ndarray, layer: str | None
) -> list[list[np.ndarray]]:
  """For each image what its class depends on: [saliency, Grad-CAM over the image].

  Args:
    network: of the run.
    images: uint8 [B, H, W, C].
    classes: int [B], whose logit is explained.
    layer: for Grad-CAM, a key of `inside.map_layers`; None leaves it out.
  """
  inputs, chosen = network.normalize(jnp.asarray(images)), jnp.asarray(classes, jnp.int32)
  slopes = np.asarray(inside.saliency(network.module, network.variables, inputs, chosen))
  pictures = [[pixels.coloured(np.sqrt(slope), 'inferno')] for slope in slopes]
  if layer:
    heats = inside.grad_cam(network.module, network.variables, inputs, chosen, layer)
    for image, heat, shown in zip(images, np.asarray(heats), pictures, strict=True):
      shown.append(pixels.overlay(image, heat))
  return pictures


def cam_layer(network: Trained) -> str | None:
  """The last layer with maps, where Grad-CAM looks."""
  return _last_map(inside.map_layers(network.module, network.variables, network.image_shape))


def _last_map(layers: dict[str, tuple[int, int, int]]) -> str | None:
  """The last one of at least 4 x 4 places: fewer say nothing about where."""
  return next((path for path, shape in reversed(layers.items()) if min(shape[:2]) >= 4), None)


def _filters(network: Trained, folder: pathlib.Path) -> dict[str, Any] | None:
  found = first_kernel(network.variables)
  if found is None:
    return None
  name, kernel = found
  pictures = filter_pictures(kernel)
  columns = min(len(pictures), 16)
  sheet = pixels.enlarge(pixels.grid(pictures, columns), max(2, 640 // (columns * 5)))
  pixels.save(sheet, folder / 'filters.png')
  height, width, channels, count = kernel.shape
  return {
    'name': name,
    'image': pixels.data_uri(pixels.png(sheet)),
    'width': sheet.shape[1],
    'caption': f'{count} filters of {height} by {width} by {channels}; mid-grey is 0, all on one '
    'scale.',
  }


def _looks(
  network: Trained,
  split: Examples,
  probabilities: np.ndarray,
  layer: str | None,
  folder: pathlib.Path,
) -> list[dict[str, Any]]:
  """Three confident hits and three confident mistakes."""
  predicted = probabilities.argmax(1)
  right = predicted == split.labels
  order = np.argsort(-probabilities.max(1), kind='stable')
  half = _LOOKS // 2
  places = np.concatenate([order[right[order]][:half], order[~right[order]][:half]])
  images = split.images[places]
  shown = explanation(network, images, predicted[places], layer)
  examples, sheet = [], []
  for place, image, pictures in zip(places, images, shown, strict=True):
    coloured = pixels.rgb(image)
    sheet += [coloured, *pictures]
    verdict = 'right' if right[place] else f'in truth {network.class_names[split.labels[place]]}'
    examples.append(
      {
        'images': [pixels.data_uri(pixels.png(each)) for each in (coloured, *pictures)],
        'caption': f'{network.class_names[predicted[place]]} '
        f'{100 * probabilities[place].max():.1f} %, {verdict}',
      }
    )
  pixels.save(
    pixels.enlarge(pixels.grid(sheet, len(sheet) // len(places)), 3), folder / 'saliency.png'
  )
  return examples


def _feature_maps(
  network: Trained, image: np.ndarray, layers: list[str], folder: pathlib.Path
) -> list[dict[str, Any]]:
  inputs = network.normalize(jnp.asarray(image))
  outputs = inside.layer_outputs(network.module, network.variables, inputs)
  sheets = []
  for number, path in enumerate(layers, start=1):
    maps = np.asarray(outputs[path][0], np.float32)
    height, width, count = maps.shape
    shown = [pixels.coloured(maps[..., channel]) for channel in range(min(count, _MAPS))]
    columns = min(len(shown), 16)
    sheet = pixels.enlarge(
      pixels.grid(shown, columns, blank=128), max(1, round(_WIDTH / (columns * (width + 1))))
    )
    pixels.save(sheet, folder / f'maps_{number:02}_{path.replace("/", "_")}.png')
    of = f'the first {len(shown)} of {count}' if count > len(shown) else f'{count}'
    sheets.append(
      {
        'name': path,
        'image': pixels.data_uri(pixels.png(sheet)),
        'width': sheet.shape[1],
        'caption': f'{path}: {of} maps of {height} by {width}, each on its own scale.',
      }
    )
  return sheets
