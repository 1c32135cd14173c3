"""Reads a file of Keras's in a process of its own.

HDF5's library was not made for hostile files: where bits of its tables are flipped it may search
for ever, take all memory or crash. A process may do so without harm.
"""

import json
import os
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np

from cifar_jax.startup import host_memory
from cifar_jax.utils.child_process import run_bounded
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require
from cifar_jax.weights import keras_files

_ROOT = pathlib.Path(__file__).parents[2]  # where the package lies
PROCESSOR_SECONDS = 20  # beside one for each 100 MB that the arrays may have
SECONDS = 300
# Bytes beside those of the file and its arrays; 2**27 are what Python and HDF5 need.
_MEMORY = 2**29
_THREADS = {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}  # each would reserve memory
_FACTS, _ARRAYS = 'facts.json', 'arrays.npz'


def load(path: pathlib.Path, most_bytes: int) -> keras_files.Saved:
  """As `keras_files.load`, which may not hang.

  Raises:
    UserError: as there, and where reading does not end.
  """
  require('transfer', 'h5py')
  with tempfile.TemporaryDirectory(prefix='cifar_jax-') as folder:
    paths = [str(_ROOT), os.environ.get('PYTHONPATH')]
    environment = {**os.environ, **_THREADS, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
    seconds = PROCESSOR_SECONDS + most_bytes // 10**8
    memory = _MEMORY + 3 * most_bytes + 2 * path.stat().st_size
    limits = [str(most_bytes), str(seconds), str(memory)]
    arguments = [str(path.absolute()), folder, *limits]
    program = [sys.executable or 'python', '-m', 'cifar_jax.weights.keras_process', *arguments]
    outcome = run_bounded(program, SECONDS, environment)
    facts = pathlib.Path(folder, _FACTS)
    if outcome.status != 0 or not facts.is_file():
      lines = outcome.errors.strip().splitlines() or ['it did not end']
      raise UserError(
        f'{path} is damaged: reading it was given up ({" ".join(lines[-1].split())[:200]})'
      )
    said = json.loads(facts.read_text('utf-8'))
    if 'error' in said:
      raise UserError(said['error'])
    with np.load(pathlib.Path(folder, _ARRAYS), allow_pickle=False) as arrays:
      layers = {
        layer: {name: arrays[str(number)] for name, number in numbers}
        for layer, numbers in said.pop('layers')
      }
  return keras_files.Saved(layers, **said)


def main(path: str, folder: str, most_bytes: str, seconds: str, memory: str) -> None:
  """The program: writes what it reads, or the sentence of an error, into a folder."""
  host_memory.limit(int(seconds), int(memory))
  facts = pathlib.Path(folder, _FACTS)
  try:
    saved = keras_files.load(pathlib.Path(path), int(most_bytes))
  except UserError as error:
    facts.write_text(json.dumps({'error': str(error)}), 'utf-8')
    return
  arrays: list[np.ndarray] = []
  layers = []
  for layer, named in saved.arrays.items():
    layers.append((layer, [(name, len(arrays) + index) for index, name in enumerate(named)]))
    arrays += named.values()
  numbered: dict[str, Any] = {str(index): array for index, array in enumerate(arrays)}
  np.savez(pathlib.Path(folder, _ARRAYS), **numbered)
  said: dict[str, Any] = {'layers': layers, 'config': saved.config, 'version': saved.version}
  said |= {'backend': saved.backend, 'by_class': saved.by_class, 'names': saved.names}
  facts.write_text(json.dumps(said), 'utf-8')


if __name__ == '__main__':
  main(*sys.argv[1:])
