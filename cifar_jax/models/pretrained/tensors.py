"""Puts tensors as they are published into the variables of a Flax module."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

Convert = Callable[[np.ndarray], np.ndarray]
_NAMED = 12  # tensors named in a message


def same(array: np.ndarray) -> np.ndarray:
  """Keras stores arrays as Flax does."""
  return array


def convolution(array: np.ndarray) -> np.ndarray:
  """PyTorch's [out, in, h, w] as [h, w, in, out]; depthwise kernels too."""
  return array.transpose(2, 3, 1, 0)


def dense(array: np.ndarray) -> np.ndarray:
  """PyTorch's [out, in] as [in, out]."""
  return array.T


def vector(array: np.ndarray) -> np.ndarray:
  """Returns one number per channel."""
  return array.reshape(-1)


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a published tensor belongs.

  Attributes:
    collection: 'params' or 'batch_stats'.
    path: The path in the collection, such as ('layer1_0', 'conv1', 'kernel').
    convert: A function from the published layout to that of the module.
  """

  collection: str
  path: tuple[str, ...]
  convert: Convert = same


# Parts of PyTorch's BatchNorm.
BATCH_NORM: Mapping[str, tuple[str, str]] = {
  'weight': ('params', 'scale'),
  'bias': ('params', 'bias'),
  'running_mean': ('batch_stats', 'mean'),
  'running_var': ('batch_stats', 'var'),
}


@dataclasses.dataclass(frozen=True)
class Loaded:
  """Variables read from a file.

  Attributes:
    variables: 'params' and 'batch_stats', nested like those of the module, float32.
    unused: The names of tensors in the file that the module has no place for.
  """

  variables: dict[str, Any]
  unused: tuple[str, ...]


def fill(
  shapes: Mapping[str, Any],
  tensors: Mapping[str, np.ndarray],
  find: Callable[[str], Place | None],
  where: str,
) -> Loaded:
  """Puts published tensors into the variables of a module.

  Args:
    shapes: The module's variables as `jax.eval_shape` gives them.
    tensors: The tensors of the file, by name.
    find: A function from a tensor's name to its place, None for a name that is not known.
    where: The name of the file in errors.

  Raises:
    UserError: a tensor is missing or has another shape; the message names all of them, up to a
      dozen.
  """
  wanted = dict(_flatten(shapes))
  found: dict[tuple[str, ...], np.ndarray] = {}
  unused, wrong = [], []
  for name, tensor in tensors.items():
    place = find(name)
    path = (place.collection, *place.path) if place else ()
    if place is None or path not in wanted:
      unused.append(name)
      continue
    shape = tuple(wanted[path].shape)
    try:
      array = place.convert(tensor)
    except ValueError:  # another number of axes
      array = tensor
    if array.shape != shape:
      wrong.append(f'{name} {list(tensor.shape)} for {"/".join(path)} {list(shape)}')
    else:
      found[path] = np.ascontiguousarray(array, np.float32)
  if wrong:
    names = listed(wrong, _NAMED)
    raise UserError(
      f'{where} is of another network: {names}; choose the network that it was made for'
    )
  missing = ['/'.join(path) for path in wanted if path not in found]
  if missing:
    raise UserError(
      f'{where} lacks {listed(missing, _NAMED)}'
      + (f', while {listed(unused, _NAMED)} belong nowhere' if unused else '')
      + '; choose the network that it was made for'
    )
  variables: dict[str, Any] = {'params': {}, 'batch_stats': {}}
  for path, array in found.items():
    inner = variables
    for key in path[:-1]:
      inner = inner.setdefault(key, {})
    inner[path[-1]] = array
  return Loaded(variables, tuple(unused))


def _flatten(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[Any, Any]]:
  pairs = []
  for key, value in tree.items():
    if isinstance(value, Mapping):
      pairs += _flatten(value, (*path, key))
    else:
      pairs.append(((*path, key), value))
  return pairs
