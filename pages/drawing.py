"""A drawing of a network from its layers: the images at the top, the classes at the bottom, between
them a block for each layer, the wider the more numbers it puts out.

Colors are those of the page (Material's, in light and dark), and the kind of a layer has its own,
which its name repeats.
"""

import dataclasses
import html
import math
from collections.abc import Sequence

from cifar_jax.analysis.layer_table import merge_activations
from cifar_jax.analysis.tracing import LayerRecord

_MOST = 34  # blocks; of larger networks each block is a part of them
_WIDTH, _MIDDLE, _WIDEST, _NARROWEST = 560, 290, 170, 10
_LINE, _BLOCK = 28, 18
# Readable on white and on black.
_COLORS = {
  'Conv': '#0072b2',
  'Dense': '#d55e00',
  'Pool': '#009e73',
  'Norm': '#cc79a7',
  'Dropout': '#999999',
  'Activation': '#e69f00',
}
_OTHER = '#56b4e9'  # of what has several layers


@dataclasses.dataclass(frozen=True)
class Block:
  """What is drawn as one: a layer, or a part of the network that repeats."""

  label: str
  color: str
  output_shape: tuple[int, ...]
  parameters: int


def network(layers: Sequence[LayerRecord]) -> str:
  """The drawing as SVG for the middle of a page."""
  found = blocks(layers)
  total = sum(block.parameters for block in found)
  largest = max(math.prod(s) for s in (layers[0].input_shape, *(b.output_shape for b in found)))
  smallest = min(math.prod(block.output_shape) for block in found)
  shapes = [layers[0].input_shape, *(block.output_shape for block in found)]
  height = _LINE * len(shapes) + 8

  def width(shape: tuple[int, ...]) -> float:
    span = math.log(largest / smallest) or 1.0
    share = math.log(max(math.prod(shape), 1) / smallest) / span
    return _NARROWEST + (_WIDEST - _NARROWEST) * max(share, 0.0)

  parts = [_row(0, 'images', 'none', width(shapes[0]), layers[0].input_shape, '')]
  for number, block in enumerate(found, 1):
    above, here = width(shapes[number - 1]), width(block.output_shape)
    top, bottom = _LINE * (number - 1) + _BLOCK + 4, _LINE * number + 4
    parts.append(
      f'<path d="M{_MIDDLE - above / 2:.1f} {top}L{_MIDDLE + above / 2:.1f} {top}'
      f'L{_MIDDLE + here / 2:.1f} {bottom}L{_MIDDLE - here / 2:.1f} {bottom}Z" '
      'fill="currentColor" opacity=".12"/>'
    )
    count = f'{block.parameters:,}' if block.parameters else ''
    share = f' · {100 * block.parameters / total:.1f} %' if count else ''
    parts.append(_row(number, block.label, block.color, here, block.output_shape, count + share))
  title = f'The network, {len(layers)} layers'
  return (
    f'<div class="network"><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
    f'aria-label="{title}" font-size="12.5" font-family="inherit">{"".join(parts)}</svg></div>\n\n'
    'Blocks are as wide as what they put out, on a logarithmic scale; beside them the shape of '
    'that (height \xd7 width \xd7 channels), and parameters with their share.\n'
  )


def blocks(layers: Sequence[LayerRecord]) -> list[Block]:
  """What is drawn: each layer; in a network of many each part that has a name, and equal parts that
  follow on each other as one.
  """
  merged = merge_activations(layers)
  if len(merged) <= _MOST:
    return [_of_layer(layer) for layer in merged]
  for depth in (2, 1):
    parts = _together(_parts(merged, depth))
    if len(parts) <= _MOST:
      return parts
  return _stages(parts)


def _of_layer(layer: LayerRecord) -> Block:
  activation = f' {layer.activation}' if layer.activation not in ('', 'linear') else ''
  kind = layer.kind.replace('BatchNormalization', 'BatchNorm').replace(
    'LayerNormalization', 'LayerNorm'
  )
  label = layer.activation if layer.kind == 'Activation' else kind + activation
  return Block(label, _color(layer.kind), layer.output_shape, layer.parameters)


def _parts(layers: Sequence[LayerRecord], depth: int) -> list[Block]:
  """Layers whose names begin alike, one after the other, as one block."""
  found: list[tuple[str, list[LayerRecord]]] = []
  for layer in layers:
    path = layer.name.split('/')
    name = '/'.join(path[:depth]) if len(path) > 1 else layer.name
    inside = name or (found[-1][0] if found and '/' in found[-1][1][-1].name else '')
    if found and inside and found[-1][0] == inside:
      found[-1][1].append(layer)
    else:
      found.append((inside, [layer]))
  return [
    _of_layer(members[0])
    if len(members) == 1
    else Block(
      f'{name} ({len(members)} layers)',
      _OTHER,
      members[-1].output_shape,
      sum(layer.parameters for layer in members),
    )
    for name, members in found
  ]


def _together(parts: Sequence[Block]) -> list[Block]:
  """Equal blocks that follow on each other as one."""
  found: list[tuple[Block, int, str]] = []
  for part in parts:
    kind = part.label.split(' (')[-1] if part.color == _OTHER else part.label
    if found and part.color == _OTHER:
      last, count, before = found[-1]
      if (kind, part.output_shape, part.parameters) == (
        before, last.output_shape, last.parameters // count,
      ):  # fmt: skip
        total = last.parameters + part.parameters
        found[-1] = (dataclasses.replace(last, parameters=total), count + 1, before)
        continue
    found.append((part, 1, kind))
  return [
    dataclasses.replace(part, label=f'{count} \xd7 {part.label}') if count > 1 else part
    for part, count, _ in found
  ]


def _stages(parts: Sequence[Block]) -> list[Block]:
  """Blocks that put out maps of one size as one."""
  found: list[list[Block]] = []
  for part in parts:
    if found and found[-1][-1].output_shape[:-1] == part.output_shape[:-1] != ():
      found[-1].append(part)
    else:
      found.append([part])
  return [
    group[0]
    if len(group) == 1
    else Block(
      f'{group[0].label.split(" (")[0]} … {group[-1].label.split(" (")[0]}',
      _OTHER,
      group[-1].output_shape,
      sum(block.parameters for block in group),
    )
    for group in found
  ]


def _row(
  number: int, label: str, color: str, width: float, shape: tuple[int, ...], right: str
) -> str:
  top = _LINE * number + 4
  fill = f'fill="{color}"' if color != 'none' else 'fill="none" stroke="currentColor"'
  text = ' \xd7 '.join(str(size) for size in shape)
  baseline = top + _BLOCK - 5
  return (
    f'<rect x="{_MIDDLE - width / 2:.1f}" y="{top}" width="{width:.1f}" height="{_BLOCK}" rx="3" '
    f'{fill}/><text x="{_MIDDLE - _WIDEST / 2 - 8}" y="{baseline}" text-anchor="end" '
    f'fill="currentColor">{html.escape(label)}</text><text x="{_MIDDLE + _WIDEST / 2 + 8}" '
    f'y="{baseline}" fill="currentColor">{text}'
    + (f'<tspan opacity=".7" dx="8">{right}</tspan>' if right else '')
    + '</text>'
  )


def _color(kind: str) -> str:
  return next((color for word, color in _COLORS.items() if word in kind), _OTHER)
