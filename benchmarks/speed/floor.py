"""What the matrix products of a training step cost, and how far they are from what the processor
can do.

  python -m benchmarks floor --config=configs/cnn_pkaur.py
  python -m benchmarks floor --config=configs/cnn_pkaur.py --config.model.dtype=bfloat16

Each convolution and dense layer of the network is run alone at the shapes of the config: forward,
the gradient of its inputs, the gradient of its kernel. Square matrix products show what rate the
processor can reach. A whole training step, in a process of its own, takes its turn.

What the step takes beyond the sum of the products is all the rest: pooling, dropout, normalization,
activations, sums over the biases, augmentation, the optimizer. No way of computing the same
products by multiply-adds goes below their sum at the best rate that any of them reached. Rows are
appended to the CSV file.
"""

import argparse
import dataclasses
import math
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import Worker, set_up_process
from cifar_jax import config as configs
from cifar_jax.commands import parsing

PARTS = FORWARD, TO_INPUTS, TO_KERNEL = 'forward', 'to inputs', 'to kernel'

_SIZES = (512, 1024, 2048)  # of the square products
_SECONDS = 0.2  # about how long a turn of one product takes
_STEPS = 3  # in a turn of the whole step


@dataclasses.dataclass
class Product:
  """Something to be timed.

  Attributes:
    layer: The path of the layer in the parameters.
    part: One of PARTS.
    shape: The shapes of the operands.
    macs: The number of multiply-adds that it makes.
    run: Computes it and waits for the result.
    seconds: How long one computation took, for each turn.
  """

  layer: str
  part: str
  shape: str
  macs: int
  run: Callable[[], None] = lambda: None
  seconds: list[float] = dataclasses.field(default_factory=list)

  @property
  def median(self) -> float:
    """Seconds."""
    return statistics.median(self.seconds)

  @property
  def rate(self) -> float:
    """10^9 operations per second."""
    return 2e-9 * self.macs / self.median

  def row(self) -> dict[str, Any]:
    """Columns of a table."""
    return {
      'layer': self.layer,
      'part': self.part,
      'shape': self.shape,
      'ms': round(1e3 * self.median, 3),
      'gflops': round(self.rate, 1),
    }


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'floor', run, 'what each product of a step costs', __doc__, takes_overrides=True
  )
  command_line.add_options(parser, config='configs/cnn_pkaur.py', repeats=5, out='floor')


def run(arguments: argparse.Namespace) -> None:
  """Measures, prints and appends to the table."""
  worker = Worker('ours', arguments.config, arguments.overrides)
  worker.measure(3)  # compiles
  set_up_process()
  config = configs.load(arguments.config, arguments.overrides)
  squares, products = list(_squares(config.model.dtype)), list(products_of(config))
  step = Product('whole step', '', '', sum(product.macs for product in products))
  _take_turns([*squares, *products], step, worker, arguments.repeats)
  shared = {
    'config': pathlib.Path(arguments.config).stem,
    'dtype': config.model.dtype,
    'batch_size': config.batch_size,
    'turns': arguments.repeats,
    'versions': tables.versions('jax', 'jaxlib'),
    'machine': tables.processor(),
  }
  everything = (*squares, *products, step)
  rows = [{**product.row(), **shared} for product in everything]
  for row in rows:
    print('{layer:16s} {part:10s} {shape:36s} {ms:9.2f} ms {gflops:6.0f} GFLOP/s'.format(**row))
  conclude(products, step, best=max(product.rate for product in everything))
  tables.append(arguments.out, rows)


def conclude(products: Sequence[Product], step: Product, best: float) -> None:
  """Prints what the parts are together."""
  for part in PARTS:
    chosen = [product for product in products if product.part == part]
    if not chosen:  # one layer alone has no gradients of inputs
      continue
    seconds = sum(product.median for product in chosen)
    rate = 2e-9 * sum(product.macs for product in chosen) / seconds
    print(f'{part:18s}{1e3 * seconds:9.1f} ms, {rate:.0f} GFLOP/s')
  total = sum(product.median for product in products)
  print(f'products          {1e3 * total:9.1f} ms, {100 * total / step.median:.0f} % of the step')
  print(f'all the rest      {1e3 * (step.median - total):9.1f} ms')
  print(f'at the best rate  {2e-6 * step.macs / best:9.1f} ms, {best:.0f} GFLOP/s')


def _take_turns(products: Sequence[Product], step: Product, worker: Worker, turns: int) -> None:
  counts = []
  for product in products:
    start = time.perf_counter()
    product.run()
    counts.append(max(1, round(_SECONDS / (time.perf_counter() - start))))
  for _ in range(turns):
    step.seconds.append(worker.measure(_STEPS).seconds / _STEPS)
    for product, count in zip(products, counts, strict=True):
      start = time.perf_counter()
      for _ in range(count):
        product.run()
      product.seconds.append((time.perf_counter() - start) / count)
  worker.close()


def _squares(dtype: str) -> Iterator[Product]:
  import jax
  import jax.numpy as jnp

  for size in _SIZES:
    left = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    run = _timed(jnp.dot, left, left)
    yield Product('square product', '', f'{size} x {size}', size**3, run)


def products_of(config: Any) -> Iterator[Product]:
  """Yields the products of a network in the order of its layers.

  The first layer's inputs need no gradient.
  """
  import jax
  import jax.numpy as jnp
  import numpy as np

  generator = np.random.default_rng(0)

  def drawn(like: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.asarray(generator.standard_normal(like.shape), like.dtype)

  for number, (module, shape) in enumerate(_layers(config)):
    path = '/'.join(module.path)
    bare = module.clone(parent=None, name=None, use_bias=False, activation='linear')
    inputs = drawn(jax.ShapeDtypeStruct((config.batch_size, *shape), config.model.dtype))
    variables = jax.tree.map(drawn, jax.eval_shape(bare.init, jax.random.key(0), inputs))
    kernel = variables['params']['kernel']
    gradient = drawn(jax.eval_shape(bare.apply, variables, inputs))
    operands = f'{" x ".join(map(str, inputs.shape))}, {" x ".join(map(str, kernel.shape))}'
    macs = gradient.size * math.prod(kernel.shape[:-1])

    def to_inputs(variables: Any, inputs: Any, gradient: Any, bare: Any = bare) -> Any:
      return jax.vjp(lambda inputs: bare.apply(variables, inputs), inputs)[1](gradient)

    def to_kernel(variables: Any, inputs: Any, gradient: Any, bare: Any = bare) -> Any:
      return jax.vjp(lambda variables: bare.apply(variables, inputs), variables)[1](gradient)

    parts = {FORWARD: _timed(bare.apply, variables, inputs)}
    if number:
      parts[TO_INPUTS] = _timed(to_inputs, variables, inputs, gradient)
    parts[TO_KERNEL] = _timed(to_kernel, variables, inputs, gradient)
    for part, run in parts.items():
      yield Product(path, part, operands, macs, run)


def _layers(config: Any) -> list[tuple[Any, tuple[int, ...]]]:
  """Convolutions and dense layers with the shapes of their inputs, without the batch."""
  import flax.linen as nn
  import jax

  from cifar_jax import models
  from cifar_jax.layers import Conv, Dense

  found: list[tuple[Any, tuple[int, ...]]] = []

  def record(method: Any, arguments: Any, options: Any, context: Any) -> Any:
    if isinstance(context.module, Conv | Dense) and context.method_name == '__call__':
      found.append((context.module, arguments[0].shape[1:]))
    return method(*arguments, **options)

  module = models.create(config.model, 10)
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), 'float32')
  with nn.intercept_methods(record):
    jax.eval_shape(lambda key, x: module.init(key, x, train=False), jax.random.key(0), images)
  return found


def _timed(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
  import jax

  compiled = jax.jit(function)

  def run() -> None:
    jax.block_until_ready(compiled(*arguments))

  run()
  return run
