"""Networks exported to each target and compared with themselves: results/exports.csv.

  python -m benchmarks exports --configs=cnn_adv,resnet20
  python -m benchmarks exports --configs=all --targets=onnx,stablehlo
  python -m benchmarks exports --runs zoo:fast90 runs/cnn_adv --targets=keras

Of a config the weights are random, BatchNorm's too, and random pictures are compared: that says
whether the programs are the same, not how good they are. Of a run, its weights and the images that
it is measured on. A network that a target cannot take has the reason in its row; rows of the same
network, weights and target are replaced.
"""

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import tables
from benchmarks.command_line import add_options
from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError

_KEY = ('network', 'weights', 'target')
_ABSENT = 'which is not installed'


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  from cifar_jax.exchange.targets import TARGETS

  parser = parsing.add_verb(verbs, 'exports', run, 'exports beside their networks', __doc__)
  parser.add_argument('--configs', default='', metavar='NAME,...', help="in configs/, or 'all'")
  parser.add_argument('--runs', nargs='+', default=[], type=parsing.run_reference, metavar='RUN')
  parser.add_argument(
    '--targets',
    default=','.join(TARGETS),
    metavar='NAME,...',
    help='default: all that there are, without those whose packages are missing',
  )
  parser.add_argument('--images', type=int, metavar='N', help='of a run: judge it on the first N')
  parsing.add_options(parser, '--data_dir')
  add_options(parser, out='exports')


def run(arguments: argparse.Namespace) -> None:
  """Exports each network to each target, and writes the table after each."""
  from cifar_jax.exchange.targets import TARGETS

  names = arguments.configs.split(',') if arguments.configs else []
  if arguments.configs == 'all':
    names = config_names()
  targets = arguments.targets.split(',')
  if unknown := sorted(set(targets) - set(TARGETS)):
    raise UserError(f'--targets={unknown[0]} is none of {", ".join(TARGETS)}')
  if not names and not arguments.runs:
    raise UserError('nothing to export; give --configs or --runs')
  for network, weights, examples in _networks(names, arguments.runs, arguments.data_dir):
    for target in targets:
      row = measure(network, target, weights, examples, arguments.images)
      if row is not None:
        _keep(arguments.out, row)
        print(_line(row), flush=True)


def config_names() -> list[str]:
  """The names of the configs in configs/ that describe a network."""
  folder = tables.RESULTS.parent / 'configs'
  return sorted(file.stem for file in folder.glob('[!_]*.py') if file.stem != 'base')


def _networks(
  names: Sequence[str], runs: Sequence[pathlib.Path], data_dir: str | None
) -> Iterator[tuple[Any, str, Any]]:
  """Networks, what their weights are, and what gives their images."""
  from cifar_jax.devices.compilation_cache import keep_compiled_programs
  from cifar_jax.predict import classifier
  from cifar_jax.predict.run_data import load_known, usual_split

  keep_compiled_programs()
  for name in names:
    network = untrained(name)
    if network is not None:
      yield network, 'random', None
  for run in runs:
    network = classifier.load(run)

    def examples(run: pathlib.Path = run, network: Any = network) -> tuple[Any, str]:
      split = usual_split(run)
      splits = load_known(run, network.config, split, data_dir)
      return getattr(splits, split), f'{split} images'

    yield network, run.name, examples


def untrained(name: str, overrides: Sequence[str] = (), seed: int = 0) -> Any:
  """The `Classifier` of a config in configs/ with random weights, scales and statistics; None for a
  config that fits only data that are not here.
  """
  import jax
  import numpy as np

  from cifar_jax import config as configs
  from cifar_jax import models
  from cifar_jax.augment.normalize import fit_normalize
  from cifar_jax.data.expected import expected
  from cifar_jax.data.preprocessing import of_arrays
  from cifar_jax.exchange.parity import random_pictures
  from cifar_jax.predict.classifier import Classifier

  config = configs.load(f'{tables.RESULTS.parent}/configs/{name}.py', list(overrides))
  about = expected(config.data)
  classes = 2 if config.model.get('one_sigmoid') else about.num_classes
  module = models.create(config.model, classes)
  generator = np.random.default_rng(seed)

  def of(path: Any, leaf: Any) -> Any:
    kind = jax.tree_util.keystr(path)
    shape = leaf.shape
    if kind.endswith("['var']"):
      return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) < 2:  # scales, biases and means, which begin as ones and zeros
      drawn = generator.normal(1.0 if kind.endswith("['scale']") else 0.0, 0.2, shape)
      return drawn.astype(np.float32)
    fan_in = np.prod(shape[:-1])
    return (generator.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)

  pictures = random_pictures(256, about.image_shape)
  normalize = fit_normalize(config.data, pictures)
  keys = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
  shapes = jax.eval_shape(
    lambda images: module.init(keys, normalize(images), train=False), pictures[:1]
  )
  return Classifier(
    run=pathlib.Path(name),
    config=config,
    module=module,
    variables=jax.tree_util.tree_map_with_path(of, dict(shapes)),
    step=0,
    class_names=tuple(f'class {number}' for number in range(classes)),
    image_shape=about.image_shape,
    preprocessing=of_arrays(config.data, about.image_shape),
    normalize=normalize,
  )


def measure(
  network: Any,
  target: str,
  weights: str,
  examples: Callable[[], Any] | None = None,
  most: int | None = None,
) -> dict[str, Any] | None:
  """The row of a network exported to a target; None where a package that it needs is missing."""
  import jax

  from cifar_jax.exchange.export import export
  from cifar_jax.exchange.targets import TARGETS

  row: dict[str, Any] = dict.fromkeys(_columns(), '')
  row |= {
    'network': network.run.name,
    'weights': weights,
    'target': target,
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(network.variables['params'])),
    'dtype': network.config.model.get('dtype') or 'float32',
    'versions': ', '.join(f'{k} {v}' for k, v in TARGETS[target].versions().items()),
    'machine': tables.machine(),
  }
  start = time.perf_counter()
  with tempfile.TemporaryDirectory() as folder:
    try:
      found = export(
        network, target, pathlib.Path(folder) / 'out', examples=examples, most=most
      ).parity
    except UserError as error:
      if _ABSENT in str(error):
        return None
      return row | {'reason': f'{error} {"; ".join(error.details)}'.strip()[:300]}
  (one, first), *rest = found.latency.items()
  batch, many = rest[0] if rest else (one, first)
  return row | {
    'images': f'{found.compared} {found.images}',
    'largest_difference': f'{found.largest_difference:.3g}',
    'largest_output': f'{found.largest_output:.4g}',
    'equal_classes': f'{found.equal_classes:.4f}',
    'accuracy_there': '' if found.accuracy_there is None else f'{found.accuracy_there:.4f}',
    'accuracy_here': '' if found.accuracy_here is None else f'{found.accuracy_here:.4f}',
    'judged': found.judged or '',
    'bytes': found.bytes,
    'ms_there': f'{first["there"]:.2f}',
    'ms_here': f'{first["here"]:.2f}',
    'batch': batch,
    'batch_ms_there': f'{many["there"]:.1f}',
    'batch_ms_here': f'{many["here"]:.1f}',
    'seconds': round(time.perf_counter() - start, 1),
  }


def _columns() -> tuple[str, ...]:
  return (
    *(*_KEY, 'parameters', 'dtype', 'images', 'largest_difference', 'largest_output'),
    *('equal_classes', 'accuracy_there', 'accuracy_here', 'judged', 'bytes', 'ms_there'),
    *('ms_here', 'batch', 'batch_ms_there', 'batch_ms_here', 'seconds', 'reason', 'versions'),
    'machine',
  )


def _keep(out: pathlib.Path, row: dict[str, Any]) -> None:
  """Puts a row into the table, in the place of one of the same network, weights and target."""
  key = [str(row[name]) for name in _KEY]
  rows = [other for other in tables.read(out) if [other[name] for name in _KEY] != key]
  tables.write(out, sorted([*rows, row], key=lambda row: [row[name] for name in _KEY]))


def _line(row: dict[str, Any]) -> str:
  head = f'{row["network"]:<24} {row["target"]:<12}'
  if row['reason']:
    return f'{head} {row["reason"]}'
  return (
    f'{head} {row["largest_difference"]:>9} of {row["largest_output"]:>8}  '
    f'{row["bytes"]:>11,} bytes  batch {row["batch_ms_there"]} ms there, '
    f'{row["batch_ms_here"]} ms here'
  )
