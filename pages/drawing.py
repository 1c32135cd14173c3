"""A drawing of a network from its layers: the images at the top, the classes at the bottom, between
them a block for each layer, the wider the more numbers it puts out.

Colors are those of the page (Material's, in light and dark), and the kind of a layer has its own,
which its name repeats.
"""

import dataclasses
import html
import itertools
import math
import re
from collections.abc import Sequence

from cifar_jax.analysis.layer_table import merge_activations
from cifar_jax.analysis.tracing import LayerRecord
from cifar_jax.figures import charts

_FEWEST, _MOST = 4, 34  # blocks; of larger networks each block is a part of them
_WIDTH, _MIDDLE, _WIDEST, _NARROWEST = 500, 225, 120, 8
_LETTERS = 22  # of a label
_PERIOD = 12  # blocks that repeat together
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
    f'aria-label="{title}" font-size="13" font-family="inherit">{"".join(parts)}</svg></div>\n\n'
    'The width of a block shows the size of its output, on a logarithmic scale. Beside it are the '
    'shape of the output (height \xd7 width \xd7 channels), and its parameters with their share.\n'
  )


def blocks(layers: Sequence[LayerRecord]) -> list[Block]:
  """What is drawn: each layer; in a network of many each part that has a name, those that repeat as
  one; in one of still more what puts out maps of one size.
  """
  merged = merge_activations(layers)
  if len(merged) <= _MOST:
    return [_of_layer(layer) for layer in merged]
  by_name = [_repeats(_parts(merged, depth)) for depth in (1, 2)]
  return next((parts for parts in by_name if _FEWEST <= len(parts) <= _MOST), _stages(by_name[0]))


def _of_layer(layer: LayerRecord) -> Block:
  activation = f' {layer.activation}' if layer.activation not in ('', 'linear') else ''
  kind = layer.kind.replace('Normalization', 'Norm')
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
      name,
      _OTHER,
      members[-1].output_shape,
      sum(layer.parameters for layer in members),
    )
    for name, members in found
  ]


def _repeats(parts: Sequence[Block]) -> list[Block]:
  """Blocks, or rows of them, that follow on each other several times as one."""
  alike = [(re.sub(r'\d+', '', part.label), part.output_shape, part.parameters) for part in parts]
  found: list[Block] = []
  place = 0
  while place < len(parts):
    lengths = {period: _times(alike[place:], period) for period in range(1, _PERIOD + 1)}
    period, count = max(lengths.items(), key=lambda each: (each[1] > 1) * each[0] * each[1])
    if count == 1:
      found.append(parts[place])
      place += 1
      continue
    row = parts[place : place + period]
    largest = max(row, key=lambda block: block.parameters)
    found.append(
      Block(
        f'{count} \xd7 {largest.label}',
        largest.color,
        row[-1].output_shape,
        count * sum(block.parameters for block in row),
      )
    )
    place += period * count
  return found


def _times(values: Sequence[object], period: int) -> int:
  """How often the first values, so many, stand there one after the other."""
  starts = range(0, len(values) - period + 1, period)
  first = values[:period]
  return sum(1 for _ in itertools.takewhile(lambda at: values[at : at + period] == first, starts))


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
      f'{group[0].label} … {group[-1].label}',
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
  text = '\xd7'.join(str(size) for size in shape)
  baseline, name = top + _BLOCK - 5, html.escape(charts.shortened(label, _LETTERS))
  return (
    f'<rect x="{_MIDDLE - width / 2:.1f}" y="{top}" width="{width:.1f}" height="{_BLOCK}" rx="3" '
    f'{fill}/><text x="{_MIDDLE - _WIDEST / 2 - 8}" y="{baseline}" text-anchor="end" '
    f'fill="currentColor">{name}</text><text x="{_MIDDLE + _WIDEST / 2 + 8}" '
    f'y="{baseline}" fill="currentColor">{text}'
    + (f'<tspan opacity=".7" dx="8">{right}</tspan>' if right else '')
    + '</text>'
  )


def _color(kind: str) -> str:
  return next((color for word, color in _COLORS.items() if word in kind), _OTHER)
