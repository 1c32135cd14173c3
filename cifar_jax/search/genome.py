"""Networks of the kind [[CONV -> ACT] x N -> POOL?] x M -> [DENSE -> ACT] x K -> logits, with their
optimizer, as values that can be changed and crossed.

A genome says no more than `conv_net` can say, and is written into a config in its words. Data,
augmentation, batch, schedule and length are the config's own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.models.conv_net import parse_blocks, parse_head
from cifar_jax.models.layer_specs import (
  ActivationSpec,
  BatchNormSpec,
  ConvSpec,
  DenseSpec,
  DropoutSpec,
  FlattenSpec,
  GlobalAveragePoolSpec,
  LayerSpec,
  PoolSpec,
  format_spec,
)
from cifar_jax.schema.options import options_of
from cifar_jax.utils.errors import UserError

POOLS = ('none', 'max_pool', 'avg_pool')
# Where a block normalizes: nowhere, between each convolution and its activation, or at its end.
BATCH_NORMS = ('none', 'convolution', 'block')
VECTORS: Mapping[str, LayerSpec] = {
  'flatten': FlattenSpec(),
  'global_average_pool': GlobalAveragePoolSpec(),
}


@dataclasses.dataclass(frozen=True)
class Ranges:
  """Where the numbers of an optimizer are drawn from, both evenly in their logarithms.

  Attributes:
    learning_rate: Lowest and highest.
    weight_decay: Lowest and highest; None where the optimizer takes none.
    momentum: Whether it takes one.
  """

  learning_rate: tuple[float, float]
  weight_decay: tuple[float, float] | None = None
  momentum: bool = False


# Weight decay is L2 for sgd, and decoupled, a multiple of the rate, for the others.
RULES = {
  'adam': Ranges((1e-4, 1e-2)),
  'adamw': Ranges((1e-4, 1e-2), (1e-3, 0.3)),
  'keras_adam': Ranges((1e-4, 1e-2)),
  'keras_rmsprop': Ranges((3e-5, 3e-3)),
  'keras_sgd': Ranges((3e-3, 0.3), momentum=True),
  'nadamw': Ranges((1e-4, 1e-2), (1e-3, 0.3)),
  'sgd': Ranges((3e-3, 0.3), (1e-5, 1e-2), momentum=True),
}


@dataclasses.dataclass(frozen=True)
class Convolution:
  """A convolution with `kernel` x `kernel` windows.

  Attributes:
    padding: 'same' or 'valid'.
    width_factor: Its filters as a multiple of its block's width.
  """

  kernel: int = 3
  padding: str = 'same'
  width_factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class Block:
  """Convolutions, then a pool of 2x2, BatchNorm and dropout, each of which may be missing.

  Attributes:
    width: Filters of a convolution with the factor 1.
    convolutions: One or more.
    pool: One of POOLS.
    batch_norm: One of BATCH_NORMS.
    dropout: Rate, 0 for none.
  """

  width: int
  convolutions: tuple[Convolution, ...]
  pool: str = 'max_pool'
  batch_norm: str = 'none'
  dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class Dense:
  """A hidden layer and the rate of the dropout after it, 0 for none."""

  units: int
  dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class Rule:
  """One of RULES; what it does not take is 0."""

  name: str
  learning_rate: float
  weight_decay: float = 0.0
  momentum: float = 0.0


@dataclasses.dataclass(frozen=True)
class Genome:
  """A network and its optimizer.

  Attributes:
    blocks: From the image on; may be empty.
    vectors: One of VECTORS: what makes vectors of the last maps.
    dense: The hidden layers after that.
    activation: Of every convolution and hidden layer.
  """

  blocks: tuple[Block, ...]
  vectors: str
  dense: tuple[Dense, ...]
  activation: str
  optimizer: Rule


def to_json(genome: Genome) -> dict[str, Any]:
  """The genome as JSON takes it."""
  return dataclasses.asdict(genome)


def of_json(content: Mapping[str, Any]) -> Genome:
  """The genome that `to_json` made this of.

  Raises:
    UserError: It is of no genome.
  """
  try:
    blocks = tuple(
      Block(**{**block, 'convolutions': tuple(Convolution(**one) for one in block['convolutions'])})
      for block in content['blocks']
    )
    dense = tuple(Dense(**layer) for layer in content['dense'])
    rule = Rule(**content['optimizer'])
    return Genome(**{**content, 'blocks': blocks, 'dense': dense, 'optimizer': rule})
  except (KeyError, TypeError) as error:
    raise UserError(f'this is no genome ({error}): {str(content)[:100]}') from None


def fitted(genome: Genome, image_shape: Sequence[int]) -> Genome:
  """The genome, changed where it could not be: a 'valid' convolution without room becomes 'same', a
  pool without room is left out, and a factor that makes no whole number of filters is 1.
  """
  side = min(image_shape[:2])
  blocks = []
  for block in genome.blocks:
    convolutions = []
    for convolution in block.convolutions:
      if (block.width * convolution.width_factor) % 1:
        convolution = dataclasses.replace(convolution, width_factor=1.0)
      if convolution.padding == 'valid':
        if side >= convolution.kernel:
          side -= convolution.kernel - 1
        else:
          convolution = dataclasses.replace(convolution, padding='same')
      convolutions.append(convolution)
    pool = block.pool if side >= 2 else 'none'
    side //= 1 if pool == 'none' else 2
    blocks.append(dataclasses.replace(block, convolutions=tuple(convolutions), pool=pool))
  return dataclasses.replace(genome, blocks=tuple(blocks))


def to_config(base: ConfigDict, genome: Genome) -> ConfigDict:
  """The base with the network and the optimizer of a genome; not locked.

  Options of the base's optimizer stay where the genome has the same one; those that every optimizer
  takes stay always.
  """
  config = ConfigDict(base.copy_and_resolve_references()).unlock()
  templates = tuple(_specs_of(block, genome.activation) for block in genome.blocks)
  config.model = ConfigDict(
    {
      'name': 'conv_net',
      'widths': tuple(block.width for block in genome.blocks),
      'block': templates[0] if len(set(templates)) == 1 else templates,
      'head': _texts([VECTORS[genome.vectors], *_dense_specs(genome.dense)]),
      'activation': genome.activation,
      'dtype': base.model.get('dtype') or 'float32',
    }
  )
  rule = genome.optimizer
  chosen = options_of(optim.OPTIMIZERS[rule.name])
  section = config.optimizer
  of_all = set.intersection(*(set(options_of(each)) for each in optim.OPTIMIZERS.values()))
  same = section.name == rule.name
  with section.ignore_type():
    for option in section:
      if option not in ('name', 'groups', *of_all) and not (same and option in chosen):
        section[option] = None
    section.name = rule.name
    for option in _NUMBERS:
      if option in chosen:
        section[option] = getattr(rule, option)
  return config


def of_config(config: ConfigDict) -> Genome:
  """The genome of a config's network and optimizer.

  Raises:
    UserError: No genome can say that; the sentence says what.
  """
  model = config.model
  if model.name != 'conv_net':
    raise UserError(f'a network of the kind {model.name!r} is no conv_net')
  widths, head = model.get('widths') or (), model.get('head') or ('flatten',)
  activation = model.get('activation') or 'relu'
  blocks = tuple(
    _block_of(width, list(specs), activation)
    for width, specs in zip(widths, parse_blocks(widths, model.get('block') or ()), strict=True)
  )
  first, *rest = parse_head(head)
  vectors = next((name for name, spec in VECTORS.items() if spec == first), None)
  if vectors is None:
    raise UserError(
      f'the head begins with {format_spec(first)!r}, not with one of {tuple(VECTORS)}'
    )
  return Genome(blocks, vectors, _dense_of(rest), activation, _rule_of(config))


_NUMBERS = ('learning_rate', 'weight_decay', 'momentum')  # the fields of a rule after its name


def _texts(specs: Sequence[LayerSpec]) -> tuple[str, ...]:
  return tuple(format_spec(spec) for spec in specs)


def _specs_of(block: Block, activation: str) -> tuple[str, ...]:
  specs: list[LayerSpec] = []
  for one in block.convolutions:
    conv = ConvSpec((one.kernel, one.kernel), one.padding, one.width_factor)
    if block.batch_norm == 'convolution':
      conv = dataclasses.replace(conv, activation='linear')
      specs += [conv, BatchNormSpec(), ActivationSpec(activation)]
    else:
      specs.append(conv)
  if block.pool != 'none':
    specs.append(PoolSpec(block.pool))
  if block.batch_norm == 'block':
    specs.append(BatchNormSpec())
  if block.dropout:
    specs.append(DropoutSpec(block.dropout))
  return _texts(specs)


def _block_of(width: int, specs: list[LayerSpec], activation: str) -> Block:
  """The block of some specs, which `_specs_of` must give again."""
  convolutions = [spec for spec in specs if isinstance(spec, ConvSpec)]
  pools = [spec.kind for spec in specs if isinstance(spec, PoolSpec)]
  rates = [spec.rate for spec in specs if isinstance(spec, DropoutSpec)]
  norm = 'block' if BatchNormSpec() in specs else 'none'
  if norm == 'block' and convolutions and convolutions[0].activation == 'linear':
    norm = 'convolution'
  block = Block(
    width,
    tuple(Convolution(conv.kernel[0], conv.padding, conv.width_factor) for conv in convolutions),
    pools[0] if pools else 'none',
    norm,
    rates[0] if rates else 0.0,
  )
  if not convolutions or _specs_of(block, activation) != _texts(specs):
    raise UserError(
      f'a block of {_texts(specs)} is not one or more convolutions, then at most a pool of 2x2, '
      'batch_norm and dropout'
    )
  return block


def _dense_specs(dense: Sequence[Dense]) -> list[LayerSpec]:
  specs: list[LayerSpec] = []
  for layer in dense:
    specs.append(DenseSpec(layer.units))
    if layer.dropout:
      specs.append(DropoutSpec(layer.dropout))
  return specs


def _dense_of(specs: list[LayerSpec]) -> tuple[Dense, ...]:
  dense: list[Dense] = []
  for spec in specs:
    if isinstance(spec, DenseSpec):
      dense.append(Dense(spec.units))
    elif isinstance(spec, DropoutSpec) and dense:
      dense[-1] = dataclasses.replace(dense[-1], dropout=spec.rate)
  if _texts(_dense_specs(dense)) != _texts(specs):
    raise UserError(
      f'a head that goes on with {_texts(specs)} is not dense layers without an activation of '
      'their own, each with dropout after it or not'
    )
  return tuple(dense)


def _rule_of(config: ConfigDict) -> Rule:
  if config.optimizer.get('groups'):
    raise UserError(
      'config.optimizer.groups name parameters of one network, and may match none of another'
    )
  if config.optimizer.name not in RULES:
    raise UserError(f'the optimizer {config.optimizer.name!r} is none of {", ".join(RULES)}')
  chosen = optim.validate(config.optimizer)
  found = {name: float(getattr(chosen, name, 0.0)) for name in _NUMBERS}
  return Rule(config.optimizer.name, **found)
