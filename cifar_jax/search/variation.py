"""Genomes changed and crossed.

Every genome from here, and from `draws`, fits the images, see `genome.fitted`, and stays within the
bounds of `draws`; all randomness is the generator's that is given.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from cifar_jax.search.draws import (
  ACTIVATIONS,
  MOMENTA,
  MOST_BLOCKS,
  MOST_CONVOLUTIONS,
  MOST_DENSE,
  MOST_DROPOUT,
  UNITS,
  Random,
  log_uniform,
  near_width,
  random_block,
  random_convolution,
  random_dense,
  random_rule,
  three_digits,
)
from cifar_jax.search.genome import BATCH_NORMS, POOLS, RULES, VECTORS, Block, Dense, Genome, fitted

_NO_DECAY = 0.2  # the chance that a changed weight decay is none
Item = TypeVar('Item')


def crossed(random: Random, one: Genome, other: Genome, image_shape: Sequence[int]) -> Genome:
  """The first blocks of one genome and the last of another, cut at random; all else of either with
  equal chance. A rule goes on as a whole, since its rate is its own.
  """
  first = int(random.integers(0, len(one.blocks) + 1))
  last = int(random.integers(0, len(other.blocks) + 1))
  blocks = (one.blocks[:first] + other.blocks[len(other.blocks) - last :])[:MOST_BLOCKS]
  pick = {
    field: getattr(one if random.random() < 0.5 else other, field)
    for field in ('vectors', 'dense', 'activation', 'optimizer')
  }
  return fitted(Genome(blocks or one.blocks, **pick), image_shape)


def mutated(random: Random, genome: Genome, image_shape: Sequence[int]) -> tuple[Genome, str]:
  """A genome that differs in one thing, and what that is, such as 'width of block 2: 64 -> 96'."""
  names = sorted(MUTATIONS)
  while True:
    mutation = MUTATIONS[names[random.integers(len(names))]]
    found = mutation(random, genome)
    if found is None:
      continue  # there is nothing of that kind in this genome
    child, what = fitted(found[0], image_shape), found[1]
    if child != genome:
      return child, what


Mutation = Callable[[Random, Genome], tuple[Genome, str] | None]
MUTATIONS: dict[str, Mutation] = {}


def _mutation(function: Mutation) -> Mutation:
  MUTATIONS[function.__name__.strip('_')] = function
  return function


@_mutation
def _add_block(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  if len(genome.blocks) >= MOST_BLOCKS:
    return None
  place = int(random.integers(len(genome.blocks) + 1))
  near = genome.blocks[max(place - 1, 0)].width if genome.blocks else 32
  block = random_block(random, near_width(near))
  blocks = _spliced(genome.blocks, place, place, block)
  return dataclasses.replace(genome, blocks=blocks), f'block {place + 1} added'


@_mutation
def _remove_block(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  if len(genome.blocks) < 2:
    return None
  place = int(random.integers(len(genome.blocks)))
  blocks = _spliced(genome.blocks, place, place + 1)
  return dataclasses.replace(genome, blocks=blocks), f'block {place + 1} removed'


@_mutation
def _change_width(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(block: Block) -> Block:
    return dataclasses.replace(block, width=near_width(block.width * 2.0 ** random.uniform(-1, 1)))

  return _change_part(random, genome, 'blocks', 'width', change)


@_mutation
def _add_convolution(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(block: Block) -> Block:
    if len(block.convolutions) >= MOST_CONVOLUTIONS:
      return block
    place = int(random.integers(len(block.convolutions) + 1))
    kept = _spliced(block.convolutions, place, place, random_convolution(random))
    return dataclasses.replace(block, convolutions=kept)

  return _change_part(random, genome, 'blocks', 'convolutions', change)


@_mutation
def _remove_convolution(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(block: Block) -> Block:
    if len(block.convolutions) < 2:
      return block
    place = int(random.integers(len(block.convolutions)))
    kept = _spliced(block.convolutions, place, place + 1)
    return dataclasses.replace(block, convolutions=kept)

  return _change_part(random, genome, 'blocks', 'convolutions', change)


@_mutation
def _change_convolution(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(block: Block) -> Block:
    place = int(random.integers(len(block.convolutions)))
    drawn = random_convolution(random)
    field = str(random.choice(['kernel', 'padding', 'width_factor']))
    one = dataclasses.replace(block.convolutions[place], **{field: getattr(drawn, field)})
    kept = _spliced(block.convolutions, place, place + 1, one)
    return dataclasses.replace(block, convolutions=kept)

  return _change_part(random, genome, 'blocks', 'convolutions', change)


@_mutation
def _change_pool(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  return _redraw(random, genome, 'pool', POOLS)


@_mutation
def _change_batch_norm(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  return _redraw(random, genome, 'batch_norm', BATCH_NORMS)


@_mutation
def _change_dropout(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(layer: Any) -> Any:
    return dataclasses.replace(layer, dropout=_near_rate(random, layer.dropout))

  places = len(genome.blocks) + len(genome.dense)
  if places and random.integers(places) < len(genome.blocks):
    return _change_part(random, genome, 'blocks', 'dropout', change)
  return _change_part(random, genome, 'dense', 'dropout', change)


@_mutation
def _change_vectors(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  (other,) = (name for name in VECTORS if name != genome.vectors)
  return dataclasses.replace(genome, vectors=other), f'head: {genome.vectors} -> {other}'


@_mutation
def _add_dense(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  if len(genome.dense) >= MOST_DENSE:
    return None
  place = int(random.integers(len(genome.dense) + 1))
  layer = random_dense(random)
  dense = _spliced(genome.dense, place, place, layer)
  return dataclasses.replace(genome, dense=dense), f'dense {layer.units} added'


@_mutation
def _remove_dense(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  if not genome.dense:
    return None
  place = int(random.integers(len(genome.dense)))
  dense = _spliced(genome.dense, place, place + 1)
  return dataclasses.replace(genome, dense=dense), f'dense {genome.dense[place].units} removed'


@_mutation
def _change_units(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  def change(layer: Dense) -> Dense:
    return dataclasses.replace(layer, units=_units(layer.units * 2.0 ** random.uniform(-1, 1)))

  return _change_part(random, genome, 'dense', 'units', change)


@_mutation
def _change_activation(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  other = _other(random, ACTIVATIONS, genome.activation)
  what = f'activation: {genome.activation} -> {other}'
  return dataclasses.replace(genome, activation=other), what


@_mutation
def _change_optimizer(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  name = _other(random, tuple(RULES), genome.optimizer.name)
  what = f'optimizer: {genome.optimizer.name} -> {name}'
  return dataclasses.replace(genome, optimizer=random_rule(random, name)), what


@_mutation
def _change_learning_rate(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  return _change_rule(random, genome, 'learning_rate', RULES[genome.optimizer.name].learning_rate)


@_mutation
def _change_weight_decay(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  bounds = RULES[genome.optimizer.name].weight_decay
  old = genome.optimizer.weight_decay
  if bounds and old and random.random() < _NO_DECAY:  # or decay would come and never go
    rule = dataclasses.replace(genome.optimizer, weight_decay=0.0)
    return dataclasses.replace(genome, optimizer=rule), f'weight decay: {old:g} -> 0'
  return _change_rule(random, genome, 'weight_decay', bounds)


@_mutation
def _change_momentum(random: Random, genome: Genome) -> tuple[Genome, str] | None:
  rule = genome.optimizer
  if not RULES[rule.name].momentum:
    return None
  other = _other(random, MOMENTA, rule.momentum)
  rule = dataclasses.replace(rule, momentum=other)
  what = f'momentum: {genome.optimizer.momentum:g} -> {other:g}'
  return dataclasses.replace(genome, optimizer=rule), what


def _change_rule(
  random: Random, genome: Genome, field: str, bounds: tuple[float, float] | None
) -> tuple[Genome, str] | None:
  """A number multiplied by up to about 4 to either side; one that is 0 is drawn anew."""
  if bounds is None:
    return None
  rule = genome.optimizer
  old = getattr(rule, field)
  new = old * math.exp(random.normal(0, math.log(2))) if old else log_uniform(random, bounds)
  new = three_digits(float(np.clip(new, *bounds)))
  what = f'{field.replace("_", " ")}: {old:g} -> {new:g}'
  changed: dict[str, Any] = {field: new}
  rule = dataclasses.replace(rule, **changed)
  return dataclasses.replace(genome, optimizer=rule), what


def _change_part(
  random: Random, genome: Genome, part: str, field: str, change: Callable[[Any], Any]
) -> tuple[Genome, str] | None:
  """Changes one of the blocks, or of the dense layers, told by its field."""
  layers = getattr(genome, part)
  if not layers:
    return None
  place = int(random.integers(len(layers)))
  old, new = layers[place], change(layers[place])
  before, after = (_told(getattr(layer, field)) for layer in (old, new))
  name = f'{part.removesuffix("s")} {place + 1}'
  changed: dict[str, Any] = {part: _spliced(layers, place, place + 1, new)}
  return (
    dataclasses.replace(genome, **changed),
    f'{field.replace("_", " ")} of {name}: {before} -> {after}',
  )


def _spliced(items: tuple[Item, ...], start: int, stop: int, *between: Item) -> tuple[Item, ...]:
  """The items with others in the place of those from `start` to before `stop`."""
  return (*items[:start], *between, *items[stop:])


def _redraw(
  random: Random, genome: Genome, field: str, values: Sequence[str]
) -> tuple[Genome, str] | None:
  """Another word in a field of one block."""

  def change(block: Block) -> Block:
    return dataclasses.replace(block, **{field: _other(random, values, getattr(block, field))})

  return _change_part(random, genome, 'blocks', field, change)


def _told(value: Any) -> str:
  """A field of a block or a dense layer for people."""
  if isinstance(value, tuple):
    return ' '.join(
      f'{one.kernel}x{one.kernel}'
      + (' valid' if one.padding == 'valid' else '')
      + (f' x{one.width_factor:g}' if one.width_factor != 1 else '')
      for one in value
    )
  return f'{value:g}' if isinstance(value, float) else str(value)


def _near_rate(random: Random, rate: float) -> float:
  step = int(random.choice([-4, -3, -2, -1, 1, 2, 3, 4]))
  return round(float(np.clip(rate + 0.05 * step, 0.0, MOST_DROPOUT)), 2)


def _units(wanted: float) -> int:
  low, high = UNITS
  return int(np.clip(32 * round(wanted / 32), low, high))


def _other(random: Random, values: Sequence[Item], old: Item) -> Item:
  """One of the values that is not the old one."""
  rest = [value for value in values if value != old]
  return rest[random.integers(len(rest))]
