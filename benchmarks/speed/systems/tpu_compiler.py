"""Compiles one program of a config for a TPU that is not here; see speed/tpu.py.

  python -m benchmarks.speed.systems.tpu_compiler CONFIG_FILE TOPOLOGY PROGRAM [OVERRIDE ...]

Prints a line of JSON: the columns of the table, {} where the config has no such program. The
environment must be `ENVIRONMENT`, before JAX starts.
"""

import functools
import importlib.metadata
import importlib.util
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.utils.errors import UserError, exit_on_user_error

PROGRAMS = ('epoch', 'last_batch', 'evaluation', 'pmap')
# The compiler asks the machine what TPU it has, and must not wait for an answer.
ENVIRONMENT = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': 'true',  # several processes may compile
  'JAX_PLATFORMS': 'cpu',
  'JAX_ENABLE_COMPILATION_CACHE': 'false',  # what is kept costs nothing to compile
  'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_WORKER_ID': '0',
  'TF_CPP_MIN_LOG_LEVEL': '3',
}
# Training and test images of data sets other than CIFAR's; of folders, those of one article.
_SIZES = {
  'synthetic': (10_000, 2_000),
  'folder': (2_000, 800),
  **dict.fromkeys(('mnist', 'fashion_mnist'), (60_000, 10_000)),
}
_COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')


def requirement() -> str:
  """What jax asks for: 'libtpu==0.0.42.*'."""
  wanted = importlib.metadata.requires('jax') or []
  return next(line.split(';')[0].strip() for line in wanted if line.startswith('libtpu'))


def version() -> str:
  """The version of the compiler."""
  return importlib.metadata.version('libtpu')


def check_installed() -> None:
  """Raises UserError where there is no compiler."""
  if importlib.util.find_spec('libtpu') is None:
    jax = importlib.metadata.version('jax')
    raise UserError(
      'the TPU compiler is the package libtpu, which is not installed; '
      f"pip install '{requirement()}' brings the one of jax {jax} (700 MB), and needs no TPU"
    )


class Cost(NamedTuple):
  """What a program says of itself.

  Attributes:
    step: The sum of the compiler's estimates, in cycles, over one pass through its loop.
    once: That over what is done before and after it.
    collectives: Kind -> number in one pass.
  """

  step: int
  once: int
  collectives: Counter[str]


def cost(program: str) -> Cost:
  """Reads a compiled program's text. Loops within the step count as often as they run, where their
  condition says how often, else once.
  """
  computations = {
    match[2]: (match[1], match[3])
    for match in re.finditer(r'^(ENTRY )?%?([^\s(]+) \(.*?\{\n(.*?)^\}', program, re.M | re.S)
  }
  entry = next(body for first, body in computations.values() if first)

  def passes(condition: str) -> int:
    limits = re.findall(r's32\[\]\S* constant\((\d+)\)', computations[condition][1])
    return int(limits[0]) if len(limits) == 1 else 1

  def total(text: str, loops: bool) -> tuple[int, Counter[str]]:
    cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
    kinds = Counter(re.findall(rf' ({"|".join(_COLLECTIVES)})(?:-start)?\(', text))
    called = re.findall(r' call\(.*?to_apply=%?([^\s,}]+)', text)
    called += re.findall(r'-start\(.*?calls=%?([^\s,}]+)', text)
    for several in re.findall(r'branch_computations=\{([^}]*)\}', text):
      called += [name.strip(' %') for name in several.split(',')]
    called += re.findall(r'(?:true|false)_computation=%?([^\s,}]+)', text)
    times = [(name, 1) for name in called]
    if loops:
      found = re.findall(r' condition=%?([^\s,}]+), body=%?([^\s,}]+)', text)
      times += [(body, passes(condition)) for condition, body in found]
    for name, count in times:
      more, other = total(computations[name][1], loops)
      cycles += count * more
      kinds += Counter({kind: count * number for kind, number in other.items()})
    return cycles, kinds

  bodies = re.findall(r' while\(.*? body=%?([^\s,}]+)', entry)
  if not bodies:
    return Cost(total(entry, True)[0], 0, total(entry, True)[1])
  parts = [total(computations[name][1], True) for name in bodies]
  step, kinds = max(parts, key=lambda part: part[0])
  once = total(entry, False)[0] + sum(cycles for cycles, _ in parts) - step
  return Cost(step, once, kinds)


def mesh_of(topology: str) -> Any:
  """The mesh over the chips of a slice such as 'v5e:2x2'."""
  from jax.experimental import topologies

  from cifar_jax.devices import sharding

  # One chip is a host by itself; larger slices are of hosts of four.
  bounds = {'chips_per_host_bounds': (1, 1, 1)} if topology.endswith(':1x1') else {}
  try:
    described = topologies.get_topology_desc(platform='tpu', topology_name=topology, **bounds)
  except Exception as error:
    message = str(error).splitlines()[0]
    raise UserError(f'the compiler knows no slice {topology}: {message}') from None
  return sharding.mesh_over(described.devices)


def blank_splits(config: ConfigDict) -> Any:
  """Images of the shape and the number that the config's data have, all the same."""
  from cifar_jax.data import Dataset, Split, split
  from cifar_jax.data.expected import KNOWN_DATASETS, expected
  from cifar_jax.data.sources import with_several_labels

  data = config.data
  shape = expected(data).image_shape
  known = KNOWN_DATASETS.get(data.name)
  classes = 2 if known is None else known.num_classes

  def blank(count: int) -> Split:
    return Split(
      np.broadcast_to(np.zeros(shape, np.uint8), (count, *shape)), np.zeros(count, np.int32)
    )

  train, test = map(blank, _SIZES.get(data.name, (50_000, 10_000)))
  dataset = Dataset(data.name, train, test, tuple(map(str, range(classes))), 'built in', True)
  if data.get('multi_label'):
    dataset = with_several_labels(dataset)
  return split(dataset, data.validation, 'last', 0)


def lowered(config: ConfigDict, topology: str, program: str) -> Any:
  """The program, ready to be compiled; None where the config has none such."""
  from cifar_jax.trainer import programs
  from cifar_jax.trainer.build import build_trainer

  config = config.copy_and_resolve_references()
  config.unlock()
  config.parallel = 'pmap' if program == 'pmap' else 'jit'
  config.pad_to_devices = True
  mesh, splits = mesh_of(topology), blank_splits(config)
  trainer = build_trainer(config, splits, mesh=mesh)
  if program == 'evaluation':
    split = splits.validation
    return programs.lower_evaluation(trainer, _seen(trainer, split.images), split.labels)[-1]
  masked = program == 'last_batch'
  if masked and not trainer.short_last_batch:
    return None
  count = 1 if masked else trainer.dispatch_length(0, supports_scan=True)
  images = _seen(trainer, splits.train.images)
  (lowered,) = programs.lower_updates(trainer, images, splits.train.labels, count, masked)
  return lowered


def _seen(trainer: Any, images: Any) -> Any:
  """What the network is given: images, or the maps of its frozen base where those are kept."""
  import jax

  from cifar_jax.trainer import cached_features

  if not cached_features.are_cached(trainer.recipe.module):
    return images
  state = trainer.init_shapes()
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  batch = jax.ShapeDtypeStruct(images.shape, np.float32)
  find = functools.partial(trainer.recipe.module.apply, method='base_maps')
  return jax.eval_shape(find, variables, batch)


def compile_program(config: ConfigDict, topology: str, program: str) -> dict[str, Any]:
  """The columns of the table that the compiler knows, beside `_timed`; {} for no such program."""
  program_there, (lower_seconds, _) = _timed(lambda: lowered(config, topology, program))
  if program_there is None:
    return {}
  compiled, (seconds, cpu_seconds) = _timed(program_there.compile)
  memory, found = compiled.memory_analysis(), cost(compiled.as_text())
  mebibytes = {
    f'{name}_mib': round(size / 2**20, 2)
    for name, size in (
      ('arguments', memory.argument_size_in_bytes),
      ('temporaries', memory.temp_size_in_bytes),
      ('output', memory.output_size_in_bytes),
      ('shared', memory.alias_size_in_bytes),
      ('code', memory.generated_code_size_in_bytes),
    )
  }
  return {
    'batch_size': config.batch_size,
    'lower_seconds': round(lower_seconds, 1),
    'compile_seconds': round(seconds, 1),
    'compile_cpu_seconds': round(cpu_seconds, 1),
    **mebibytes,
    'collectives': ', '.join(
      f'{count} {kind}' for kind, count in sorted(found.collectives.items())
    ),
    'estimated_cycles': found.step,
    'estimated_cycles_once': found.once,
  }


def _timed(function: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
  """What a function returns, its seconds, and those of the processor over all threads."""
  start, cpu = time.perf_counter(), time.process_time()
  found = function()
  return found, (time.perf_counter() - start, time.process_time() - cpu)


def main(path: str, topology: str, program: str, *overrides: str) -> None:
  """Prints the columns."""
  from cifar_jax import config as configs

  print(json.dumps(compile_program(configs.load(path, overrides), topology, program)))


if __name__ == '__main__':
  with exit_on_user_error():
    main(*sys.argv[1:])
