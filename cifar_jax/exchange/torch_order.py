"""Matches the layers of two networks in order, by kind and shape, where their names differ."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from cifar_jax.exchange.torch_names import Layer
from cifar_jax.utils.errors import UserError

KERAS_EPSILON, USUAL_EPSILON = 1e-3, 1e-5  # of BatchNorm in Keras and in PyTorch
_KINDS = {
  'conv': 'convolutions',
  'dense': 'dense layers',
  'batch_norm': 'BatchNorms',
  'layer_norm': 'LayerNorms',
}
_PARTS = ('weight', 'bias', 'running_mean', 'running_var')
_SHORTCUT = re.compile(r'shortcut|downsample|skip|project|residual|identity', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Found:
  """A layer of the file.

  Attributes:
    name: What comes before its tensors' last parts.
    kind: As of `torch_names.Layer`.
    tensors: By their last parts.
  """

  name: str
  kind: str
  tensors: Mapping[str, np.ndarray]

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape that tells layers of a kind apart."""
    return self.tensors['weight' if 'weight' in self.tensors else 'running_mean'].shape

  @property
  def is_shortcut(self) -> bool:
    """Whether its name says that it changes the shape of what is added to a branch."""
    return bool(_SHORTCUT.search(self.name))


def match(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray], ours: Sequence[Layer], is_sorted: bool
) -> tuple[dict[str, np.ndarray], list[str]]:
  """The tensors of a file under our names.

  Args:
    tensors: In the order in which the other program defined them, or, of .safetensors, in that of
      their names (`is_sorted`).
    ours: The layers of our network in the order of their calls.

  Returns:
    (the tensors, what a person has to know of how they were matched).

  Raises:
    UserError: the layers are others, or it is not clear which of them is which.
  """
  theirs = _group(path, tensors, is_sorted)
  nameless = next((layer for layer in ours if layer.kind not in _KINDS), None)
  if nameless is not None:
    raise UserError(
      f'{path} has other names than this network or any published one that is known, and '
      f'{"/".join(nameless.path)} can be found by its name alone'
    )
  pairs: list[tuple[Layer, Found]] = []
  for kind, plural in _KINDS.items():
    mine = [layer for layer in ours if layer.kind == kind]
    other = [layer for layer in theirs if layer.kind == kind]
    if len(mine) != len(other):
      raise UserError(
        f'{path} is of another network: it has {len(other)} {plural}, and this one has '
        f'{len(mine)}; set --config.model to the network that it was made for'
      )
    # A shortcut may be defined before its branch in one network, and after it in the other.
    apart = sum(m.is_shortcut for m in mine) == sum(o.is_shortcut for o in other)
    for is_shortcut in (False, True) if apart else (None,):
      some = [layer for layer in mine if is_shortcut in (None, layer.is_shortcut)]
      theirs_of_it = [layer for layer in other if is_shortcut in (None, layer.is_shortcut)]
      pairs += _pairs(path, plural, some, theirs_of_it, is_sorted)
  renamed, remarks = _rename(path, pairs, ours)
  return renamed, [
    f'its {len(pairs)} layers were matched in order, by kind and shape, which says nothing of what '
    'is between them (activations, pools): see that the accuracy is what it was',
    *remarks,
  ]


def _group(path: pathlib.Path, tensors: Mapping[str, np.ndarray], is_sorted: bool) -> list[Found]:
  groups: dict[str, dict[str, np.ndarray]] = {}
  for name, array in tensors.items():
    layer, _, part = name.rpartition('.')
    if part not in _PARTS:
      raise UserError(
        f'{path} has other names than this network or any published one that is known, and {name} '
        'is no tensor of a convolution, dense layer or normalization'
      )
    if layer.startswith('pre_logits.') and array.ndim == 4:
      array = array.reshape(len(array), -1)  # timm's VGG writes a dense layer as a convolution
    groups.setdefault(layer, {})[part] = array
  found = [Found(name, _kind(path, name, parts), parts) for name, parts in groups.items()]
  return sorted(found, key=lambda layer: _natural(layer.name)) if is_sorted else found


def _kind(path: pathlib.Path, name: str, parts: Mapping[str, np.ndarray]) -> str:
  ranks = {part: array.ndim for part, array in parts.items()}
  if ranks.keys() - {'weight', 'bias'} == {'running_mean', 'running_var'}:
    kind = 'batch_norm'
  else:
    kind = {4: 'conv', 2: 'dense', 1: 'layer_norm'}.get(ranks.get('weight', 0), '')
  if {rank for part, rank in ranks.items() if part != 'weight'} - {1}:
    kind = ''
  if not kind:
    raise UserError(
      f'{path}: {name or "its first layer"} with {", ".join(parts)} is no convolution, dense layer '
      'or normalization'
    )
  return kind


def _natural(name: str) -> list[tuple[int, str]]:
  """A key by which layer10 comes after layer9."""
  return [(int(part or 0), text) for text, part in re.findall(r'(\D*)(\d*)', name)]


def _pairs(
  path: pathlib.Path,
  plural: str,
  mine: Sequence[Layer],
  other: Sequence[Found],
  is_sorted: bool,
) -> list[tuple[Layer, Found]]:
  """Layers of one kind."""
  wanted = [_shape(layer) for layer in mine]
  shapes = [layer.shape for layer in other]
  if wanted == shapes:
    if is_sorted:
      _check_sorted(path, plural, other)
    return list(zip(mine, other, strict=True))
  if sorted(wanted) != sorted(shapes):
    places = zip(mine, other, strict=True)
    ours, theirs = next((m, o) for m, o in places if _shape(m) != o.shape)
    raise UserError(
      f'{path} is of another network: {theirs.name} is {list(theirs.shape)} where this one has '
      f'{list(_shape(ours))} ({"/".join(ours.path)}); set --config.model, the classes and the '
      'image size to those of the network that it was made for'
    )
  if len(set(wanted)) < len(wanted):
    raise _ambiguous(path, plural, is_sorted)
  by_shape = {layer.shape: layer for layer in other}
  return [(layer, by_shape[_shape(layer)]) for layer in mine]


def _shape(layer: Layer) -> tuple[int, ...]:
  return layer.tensors['weight'].shape


def _check_sorted(path: pathlib.Path, plural: str, other: Sequence[Found]) -> None:
  """Raises UserError where layers of one shape have names whose order is not that of numbers."""
  patterns: dict[tuple[int, ...], str] = {}
  for layer in other:
    pattern = re.sub(r'\d+', '0', layer.name)
    if patterns.setdefault(layer.shape, pattern) != pattern:
      raise _ambiguous(path, plural, True)


def _ambiguous(path: pathlib.Path, plural: str, is_sorted: bool) -> UserError:
  why = (
    'a .safetensors file does not keep their order; save the state dict as .pth'
    if is_sorted
    else 'they were defined in another order than they are applied in here'
  )
  return UserError(f'{path}: which of its {plural} of the same shape is which is not clear: {why}')


def _rename(
  path: pathlib.Path, pairs: Sequence[tuple[Layer, Found]], ours: Sequence[Layer]
) -> tuple[dict[str, np.ndarray], list[str]]:
  """The tensors of matched layers, with what one has and the other has not."""
  found: dict[str, np.ndarray] = {}
  without, folded = [], []
  follower = {a.path: b for a, b in itertools.pairwise(ours)}
  shifts: dict[tuple[str, ...], np.ndarray] = {}
  for mine, theirs in pairs:
    for part, tensor in mine.tensors.items():
      if part in theirs.tensors:
        found[tensor.name] = theirs.tensors[part]
      elif part in ('weight', 'bias'):
        found[tensor.name] = np.full(tensor.shape, part == 'weight', np.float32)
        without.append(theirs.name)
    bias = theirs.tensors.get('bias')
    if bias is None or 'bias' in mine.tensors or not bias.any():
      continue
    after = follower.get(mine.path)
    fits = bias.shape == theirs.tensors['weight'].shape[:1]
    if after is None or after.kind != 'batch_norm' or not fits:
      raise UserError(
        f'{path} is of another network: {theirs.name} has a bias, and {"/".join(mine.path)} has '
        'none'
      )
    shifts[after.path] = bias
    folded.append(theirs.name)
  for layer, _ in pairs:
    if layer.path in shifts:
      mean = layer.tensors['running_mean'].name
      found[mean] = found[mean] - shifts[layer.path]
  remarks = []
  if without:
    remarks.append(f'{len(without)} layers have no bias or factor there; here it is 0 or 1')
  if folded:
    remarks.append(f'{len(folded)} convolutions have a bias there, which their BatchNorm took in')
  return found, remarks
