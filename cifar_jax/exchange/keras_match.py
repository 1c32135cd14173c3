"""Compares the model that a file of Keras's describes with a network, layer by layer."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.exchange.keras_config import Description, Op
from cifar_jax.exchange.keras_graph import Node, operations
from cifar_jax.utils.errors import UserError

_ANY_ORDER = ('Add', 'Maximum', 'Multiply')
_FRONT = ('Dense', 'Flatten', 'Identity', 'Normalization', 'Rescaling', 'Reshape')
_CLOSE = 1e-5  # how far numbers of a description may be apart, of themselves
_HUGE = 1e300  # what no number of a layer is; a whole number may be too large for a float
_VECTORS = 'it takes vectors; they are taken for images flattened row by row, channels last'


@dataclasses.dataclass(frozen=True)
class Match:
  """What is what.

  Attributes:
    layers: By the index of a node of the network with variables the name of the layer in the file.
    front: What stands before the network in the file, from the images on.
    channels_first: Whether the file's maps are [B, C, H, W].
    channel_major: The (H, W, C) of the maps that a dense layer of the network takes, by its name,
      where the file flattens channels first.
    two_logits: The last layer of the file where it has one unit for two classes; else ''.
    remarks: What a person has to know; a sentence each.
  """

  layers: Mapping[int, str]
  front: tuple[Op, ...]
  channels_first: bool
  channel_major: Mapping[str, tuple[int, int, int]]
  two_logits: str
  remarks: tuple[str, ...]


def match(
  nodes: Sequence[Node], described: Description, arrays: Mapping[str, Mapping[str, np.ndarray]]
) -> Match:
  """Finds for each layer of a network the one of a file.

  Args:
    nodes: The network.
    described: The model in the file.
    arrays: The arrays of its layers.

  Raises:
    UserError: they differ; the message names the first layers that do.
  """
  ours, owners = operations(nodes)
  matching = _Matching(ours, described.ops, arrays, nodes, owners)
  last, two_logits = matching.without_probabilities()
  matching.compare(len(ours) - 1, last)
  pairs = matching.pairs
  layers = {
    owners[mine]: described.ops[theirs].layer
    for mine, theirs in pairs.items()
    if nodes[owners[mine]].weights and ours[mine].has_weights
  }
  return Match(
    layers,
    tuple(matching.front),
    any(op.channels_first for op in described.ops),
    matching.channel_major(described),
    two_logits,
    tuple(matching.remarks),
  )


class _Matching:
  """Goes from the last layers of both models to the images.

  Attributes:
    pairs: Of each operation of ours that of the file.
    front: What stands before the network in the file.
    remarks: As in `Match`.
  """

  def __init__(
    self,
    ours: Sequence[Op],
    theirs: Sequence[Op],
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    nodes: Sequence[Node],
    owners: Sequence[int],
  ):
    self.pairs: dict[int, int] = {}
    self.front: list[Op] = []
    self.remarks: list[str] = []
    self._ours, self._theirs, self._arrays = ours, theirs, arrays
    self._nodes, self._owners = nodes, owners
    self._two_logits = ''
    self._known: dict[tuple[int, int], str] = {}

  def without_probabilities(self) -> tuple[int, str]:
    """The operation of the file that gives logits, and the last layer where it has one for two."""
    last = self._past(len(self._theirs) - 1)
    op = self._theirs[last]
    if op.kind == 'Softmax':
      return self._past(op.inputs[0]), ''
    if op.kind == 'Activation' and op.options['activation'] == 'sigmoid':
      last = self._past(op.inputs[0])
      layer = self._theirs[last].layer
      kernel = self._arrays.get(layer, {}).get('kernel')
      if kernel is not None and kernel.shape[-1] == 1 and self._classes() == 2:
        self.remarks.append(
          'its one unit with a sigmoid, the probability of the second class, became two logits, '
          'of which the first is 0'
        )
        self._two_logits = layer
      else:
        self.remarks.append(
          'it ends with a sigmoid of each class; as for a network that learned one class for each '
          'image, a softmax of its logits takes its place'
        )
    return last, self._two_logits

  def compare(self, mine: int, theirs: int) -> None:
    """Fills `pairs`; raises UserError where the models differ."""
    if all(len(op.inputs) < 2 for op in (*self._ours, *self._theirs)):
      self._compare_chains(mine, theirs)
      return
    if reason := self._differ(mine, theirs):
      raise UserError(reason)
    self._take(mine, theirs)

  def channel_major(self, described: Description) -> dict[str, tuple[int, int, int]]:
    """As in `Match`: of dense layers behind a flattening of maps with channels first."""
    found = {}
    for mine, op in enumerate(self._ours):
      if op.kind != 'Dense':
        continue
      before = op.inputs[0]
      while self._ours[before].kind in ('Activation', 'ELU', 'LeakyReLU', 'Rescaling'):
        before = self._ours[before].inputs[0]
      flatten = self._ours[before]
      if flatten.kind != 'Flatten' or len(flatten.input_shape) != 3 or before not in self.pairs:
        continue
      theirs = self._theirs[self.pairs[before]]
      maps = self._theirs[self._past(theirs.inputs[0])]
      while not maps.channels_first and maps.inputs:
        maps = self._theirs[maps.inputs[0]]
      own = described.options[theirs.layer].get('data_format')
      if maps.channels_first and own != 'channels_first':
        height, width, channels = flatten.input_shape
        found[self._nodes[self._owners[mine]].name] = (height, width, channels)
    return found

  def _classes(self) -> int:
    return self._nodes[self._owners[-1]].weights[0].shape[-1] if self._nodes[-1].weights else 0

  def _past(self, number: int) -> int:
    """The operation itself, or the nearest before it that does something."""
    while self._theirs[number].kind == 'Identity':
      number = self._theirs[number].inputs[0]
    return number

  def _is_front(self, number: int) -> bool:
    """Whether nothing but preprocessing stands between the images and an operation of the file."""
    while self._theirs[number].inputs:
      op = self._theirs[number]
      if op.kind not in _FRONT or len(op.inputs) > 1:
        return False
      number = op.inputs[0]
    return True

  def _inputs(self, mine: int, theirs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What two operations that are alike take."""
    return (
      self._ours[mine].inputs,
      tuple(self._past(number) for number in self._theirs[theirs].inputs),
    )

  def _compare_chains(self, mine: int, theirs: int) -> None:
    """Of models without branches: the layers from the images on, behind what only normalizes."""
    ours = self._chain(self._ours, mine)[1:]
    chain = [n for n in self._chain(self._theirs, theirs) if self._theirs[n].kind != 'Identity'][1:]
    fronts = [0, *(end + 1 for end, number in enumerate(chain) if self._is_front(number))]
    flat = self._ours[ours[0]].kind == 'Flatten'
    for front in fronts:
      for skipped in (0, 1) if flat else (0,):  # a file need not flatten images that are vectors
        rest = chain[front:]
        if not self._reason(ours[skipped:], rest):
          self.pairs |= dict(zip(ours[skipped:], rest, strict=True))
          self.front = [self._theirs[number] for number in chain[:front]]
          if skipped:
            self.remarks.append(_VECTORS)
          return
    scales = [self._theirs[number].kind in ('Normalization', 'Rescaling') for number in chain]
    front = scales.index(False) if False in scales else 0
    vectors = flat and self._theirs[chain[front]].kind == 'Dense'
    raise UserError(self._reason(ours[vectors:], chain[front:]))

  def _reason(self, ours: Sequence[int], theirs: Sequence[int]) -> str:
    """The first difference of two lists of operations, '' where there is none."""
    for mine, other in itertools.zip_longest(ours, theirs):
      if mine is None:
        op = self._theirs[other]
        return f'its layer {op.layer!r} ({op.kind}) comes where the network has ended'
      if other is None:
        return f'it ends where the network has {self._called(mine)}'
      if reason := self._op_differs(mine, other):
        return reason
    return ''

  @staticmethod
  def _chain(ops: Sequence[Op], last: int) -> list[int]:
    found = [last]
    while ops[found[-1]].inputs:
      found.append(ops[found[-1]].inputs[0])
    return found[::-1]

  def _differ(self, mine: int, theirs: int) -> str:
    """Why what two operations compute differs, '' where it does not."""
    if (mine, theirs) not in self._known:
      self._known[mine, theirs] = self._difference(mine, theirs)
    return self._known[mine, theirs]

  def _difference(self, mine: int, theirs: int) -> str:
    while True:
      if self._ours[mine].kind == 'InputLayer':
        op = self._theirs[theirs]
        extra = f'its layer {op.layer!r} ({op.kind}) has no counterpart in the network'
        return '' if self._is_front(theirs) else extra
      if reason := self._op_differs(mine, theirs):
        return reason
      first, second = self._inputs(mine, theirs)
      if len(first) != 1:
        break
      (mine,), (theirs,) = first, second
    best = ''
    for order in self._orders(mine, second):
      reasons = [self._differ(one, other) for one, other in zip(first, order, strict=True)]
      if not any(reasons):
        return ''
      best = best or next(filter(None, reasons))
    return best

  def _orders(self, mine: int, numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders in which a file may have the inputs of an operation."""
    if self._ours[mine].kind in _ANY_ORDER and len(numbers) == 2:
      return [numbers, numbers[::-1]]
    return [numbers]

  def _op_differs(self, mine: int, theirs: int) -> str:
    """Why two operations differ, whatever they take; '' where they do not."""
    op, other = self._ours[mine], self._theirs[theirs]
    flat = op.kind == 'Flatten' and other.kind == 'Reshape'
    if flat and len(other.options['target_shape']) == 1:
      return ''
    place = f'its layer {other.layer!r}'
    if op.kind != other.kind:
      return f'{place} is {other.kind}{_said(other)}, where the network has {self._called(mine)}'
    if len(op.inputs) != len(other.inputs):
      return f'{place} takes {len(other.inputs)} inputs, and {op.layer} {len(op.inputs)}'
    for key, wanted in op.options.items():
      found = other.options.get(key)
      padded = key == 'padding' and isinstance(wanted, str) and _never_padded(op)
      if not padded and not _alike(wanted, found):
        return (
          f'{place} ({op.kind}) has {key} {_text(found)}, where {op.layer} of the network has '
          f'{_text(wanted)}'
        )
    return self._shapes_differ(mine, theirs) if op.has_weights else ''

  def _shapes_differ(self, mine: int, theirs: int) -> str:
    layer = self._theirs[theirs].layer
    if layer == self._two_logits:
      return ''
    found = self._arrays.get(layer, {})
    for weight in self._nodes[self._owners[mine]].weights:
      array = found.get(weight.name)
      if array is None:
        continue
      turned = array.ndim == 4 and array.transpose(2, 3, 1, 0).shape == weight.shape
      if array.shape != weight.shape and not turned:
        return (
          f'its {layer}/{weight.name} has the shape {list(array.shape)}, where '
          f'{"/".join(weight.path) or "a constant"} of the network has {list(weight.shape)}'
        )
    return ''

  def _take(self, mine: int, theirs: int) -> None:
    """Writes down pairs of two operations that compute the same, and of all before them."""
    left = [(mine, theirs)]
    while left:
      mine, theirs = left.pop()
      if self.pairs.setdefault(mine, theirs) != theirs:
        op = self._ours[mine]
        raise UserError(f'more than one of its layers could be {op.layer} of the network')
      if self._ours[mine].kind == 'InputLayer':
        self.front = [self._theirs[number] for number in self._chain(self._theirs, theirs)]
        continue
      first, second = self._inputs(mine, theirs)
      for order in self._orders(mine, second):
        pairs = list(zip(first, order, strict=True))
        if len(first) == 1 or not any(self._differ(*pair) for pair in pairs):
          left += pairs
          break

  def _called(self, mine: int) -> str:
    op = self._ours[mine]
    return f'{op.kind}{_said(op)} ({op.layer})'


def _said(op: Op) -> str:
  """The activation of an operation that is one."""
  return f' {op.options["activation"]}' if op.kind == 'Activation' else ''


def _never_padded(op: Op) -> bool:
  """Whether windows fill the maps, so that padding changes nothing."""
  if len(op.input_shape) != 3 or 'pool_size' not in op.options:
    return False
  window, strides = op.options['pool_size'], op.options['strides']
  return window == strides and all(
    size % step == 0 for size, step in zip(op.input_shape[:2], strides, strict=True)
  )


def _alike(wanted: Any, found: Any) -> bool:
  if isinstance(wanted, float) and isinstance(found, int | float) and abs(found) < _HUGE:
    return abs(wanted - found) <= _CLOSE * max(abs(wanted), abs(found), 1e-30)
  return wanted == found


def _text(value: Any) -> str:
  return repr(value)[:80]
