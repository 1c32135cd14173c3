"""Damaged files of Keras's: one sentence each, read in a process that ends."""

import concurrent.futures
import pathlib
import resource
import sys

import numpy as np
import pytest

from cifar_jax.exchange import imports, keras_import
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_files, keras_process
from tests.helpers.keras_layouts import Layer, write_h5, write_keras
from tests.helpers.mutations import mutations
from tests.helpers.only_user_errors import only_user_errors

pytest.importorskip('h5py')

FILES, AT_ONCE = 300, 2


def layers_of() -> list[Layer]:
  draw = np.random.default_rng(0).standard_normal
  conv = {'name': 'conv', 'kernel_size': 3, 'padding': 'same', 'activation': 'relu'}
  return [
    (
      'Conv2D',
      conv,
      {
        'kernel': draw((3, 3, 3, 4)).astype(np.float32),
        'bias': draw(4).astype(np.float32),
      },
    ),
    ('Flatten', {'name': 'flat'}, {}),
    (
      'Dense',
      {'name': 'last', 'units': 2, 'activation': 'softmax'},
      {'kernel': draw((256, 2)).astype(np.float32), 'bias': draw(2).astype(np.float32)},
    ),
  ]


def write(path: pathlib.Path) -> pathlib.Path:
  if path.suffix == '.h5':
    return write_h5(path, layers_of())
  return write_keras(path, layers_of(), ('conv2d', 'flatten', 'dense'))


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.h5', '.keras'])
def test_damaged_files_are_one_sentence_and_end(suffix, target, tmp_path, monkeypatch) -> None:
  """A process has 5 seconds of a processor here, so that those that would hang end sooner."""
  monkeypatch.setattr(keras_process, 'PROCESSOR_SECONDS', 5)
  whole = write(tmp_path / f'whole{suffix}').read_bytes()
  paths = [tmp_path / f'{number}{suffix}' for number in range(FILES)]
  for path, content in zip(paths, mutations(whole, FILES, header=2**12), strict=True):
    path.write_bytes(content)

  def refused(path: pathlib.Path) -> bool:
    with only_user_errors(path.name):
      keras_import.read(path, target)
      return False
    return True

  with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    assert sum(pool.map(refused, paths)) > FILES / 3
  scale = 1 if sys.platform == 'darwin' else 2**10
  assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * scale < 2**30


@pytest.fixture(scope='module')
def target() -> imports.Target:
  from ml_collections import ConfigDict

  fields = {'name': 'conv_net', 'widths': (4,), 'block': ('conv3',), 'head': ('flatten',)}
  data = {'normalize': 'given', 'mean': (0.0,), 'std': (1.0,)}
  config = ConfigDict({'model': fields, 'data': data})
  return imports.make_target(config, ('one', 'other'), (8, 8, 3))


@pytest.mark.parametrize('suffix', ['.h5', '.keras'])
def test_the_process_gives_what_is_in_a_file_and_ends_in_time(
  suffix, target, tmp_path, monkeypatch
) -> None:
  path = write(tmp_path / f'a{suffix}')
  found = keras_import.read(path, target).variables['params']
  np.testing.assert_array_equal(found['Conv_0']['kernel'], layers_of()[0][2]['kernel'])
  path.write_bytes(path.read_bytes()[:300])
  with pytest.raises(UserError, match=f'a{suffix} '):
    keras_import.read(path, target)
  monkeypatch.setattr(keras_process, 'SECONDS', 0.01)
  with pytest.raises(UserError, match='reading it was given up'):
    keras_import.read(path, target)
  assert keras_files.load(write(path)).version  # and in this process, where nobody limits it
