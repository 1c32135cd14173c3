"""What of a file in the layouts of Keras does not fit a network, or is forged, is one sentence."""

import copy
import json
import math
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest

from cifar_jax.exchange import imports, keras_import
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_files, keras_process
from tests.helpers.keras_layouts import Layer, described, write_h5
from tests.helpers.keras_small import (
  UNITS,
  layers_of,
  target_of,
)
from tests.helpers.only_user_errors import only_user_errors

h5py = pytest.importorskip('h5py')


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
  """The process of its own has a test of its own; these files are sound."""
  monkeypatch.setattr(keras_process, 'load', keras_files.load)


@pytest.fixture(scope='module')
def target() -> imports.Target:
  return target_of()


def changed(number: int, **options: Any) -> list[Layer]:
  layers = layers_of()
  layers[number][1].update(options)
  return layers


def inserted(number: int, kind: str, **options: Any) -> list[Layer]:
  layers = layers_of()
  layers.insert(number, (kind, {'name': 'new', **options}, {}))
  return layers


@pytest.mark.parametrize(
  ('layers', 'message'),
  [
    (
      changed(0, padding='same'),
      r"'conv2d_1' \(Conv2D\) has padding 'same', where Conv_0 .* 'valid'",
    ),
    (changed(0, strides=[2, 2]), r"'conv2d_1' .* has strides \(2, 2\), where Conv_0"),
    (changed(0, activation='elu'), "'conv2d_1' is ELU, where the network has Activation relu"),
    (changed(2, strides=[1, 1]), r"'pool' \(MaxPooling2D\) has strides \(1, 1\), where"),
    (changed(4, activation='selu'), "'hidden' .* has activation 'selu', where Dense_0 .* 'tanh'"),
    (
      changed(4, activation='hard_sigmoid'),
      "hard_sigmoid of its layer 'hidden' is that of Keras 2",
    ),
    (changed(1, axis=2), "'norm' normalizes along the axis 2"),
    (inserted(3, 'Lambda', function='x'), "'new' is a Lambda, which is no layer of the networks"),
    (inserted(3, 'Conv2DTranspose'), "'new' is a Conv2DTranspose"),
    (inserted(3, 'ZeroPadding2D'), "'new' is ZeroPadding2D, where the network has Flatten"),
    (
      inserted(6, 'Activation', activation='relu'),
      r"'last' \(Softmax\) comes where the network has ended",
    ),
    (layers_of()[:-1], r'it ends where the network has Dense \(logits\)'),
    (inserted(0, 'Sequential', layers=[{'class_name': 'Dense'}]), 'is a model in the model'),
  ],
)
def test_what_differs_is_named(target, layers, message, tmp_path) -> None:
  with pytest.raises(UserError, match=message):
    keras_import.read(write_h5(tmp_path / 'a.h5', layers), target)


def with_array(number: int, name: str, array: np.ndarray | None) -> list[Layer]:
  layers = layers_of()
  if array is None:
    del layers[number][2][name]
  else:
    layers[number][2][name] = array
  return layers


@pytest.mark.parametrize(
  ('layers', 'message'),
  [
    (
      with_array(4, 'kernel', np.ones((7, UNITS), np.float32)),
      r'hidden/kernel has the shape \[7, 5\], where params/Dense_0/kernel .* has \[3, 5\]',
    ),
    (with_array(0, 'kernel', None), "'conv2d_1' lacks its kernel, for Conv_0"),
    (with_array(0, 'other', np.ones(3, np.float32)), r"'conv2d_1' has other \[3\], for which"),
    (with_array(4, 'bias', np.full(UNITS, np.nan, np.float32)), 'hidden/bias has numbers that are'),
    (with_array(4, 'kernel', np.array(['a'] * 15, 'S1').reshape(3, UNITS)), 'holds no numbers'),
  ],
)
@pytest.mark.parametrize('whole', [True, False])
def test_arrays_that_do_not_fit_are_named(target, layers, message, whole, tmp_path) -> None:
  with pytest.raises(UserError, match=message):
    keras_import.read(write_h5(tmp_path / 'a.h5', layers, whole=whole), target)


def test_layers_that_are_too_many_or_too_few_in_a_file_of_weights(target, tmp_path) -> None:
  layers = layers_of()
  with pytest.raises(UserError, match=r'it has 3 layers with weights, .* 4: logits would get none'):
    keras_import.read(write_h5(tmp_path / 'a.h5', layers[:-1], whole=False), target)
  more: Layer = ('Dense', {'name': 'extra'}, {'kernel': np.ones((3, 3), np.float32)})
  with pytest.raises(UserError, match=r'it has 5 layers with weights, .* 4; extra would be left'):
    keras_import.read(write_h5(tmp_path / 'a.h5', [*layers, more], whole=False), target)


def test_compressed_arrays_and_more_bytes_than_a_network_has_are_refused(target, tmp_path) -> None:
  path = write_h5(tmp_path / 'a.h5', layers_of())
  with h5py.File(path, 'a') as file:
    group = file['model_weights/hidden/hidden']
    del group['kernel:0']
    group.create_dataset('kernel:0', (2**14, 2**14), 'f4', compression='gzip')
  with pytest.raises(UserError, match='is compressed'):
    keras_import.read(path, target)
  with h5py.File(path, 'a') as file:
    group = file['model_weights/hidden/hidden']
    del group['kernel:0']
    group.create_dataset('kernel:0', (2**20, 2**20), 'f4', chunks=(4, 4))  # nothing is on the disk
  assert path.stat().st_size < 10**5
  with pytest.raises(
    UserError, match=r'hidden/hidden/kernel:0 it has more than .* bytes of weights'
  ):
    keras_import.read(path, target)


def test_an_archive_that_unpacks_to_more_than_a_network_has_is_refused(
  target, tmp_path, monkeypatch
) -> None:
  monkeypatch.setattr(keras_import, '_ROOM', 2**20)
  monkeypatch.setattr(keras_files, '_MOST_TEXT', 2**20)
  path = tmp_path / 'a.keras'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('metadata.json', '{}')
    archive.writestr('config.json', json.dumps(described(layers_of())))
    with archive.open('model.weights.h5', 'w', force_zip64=True) as file:
      for _ in range(100):
        file.write(bytes(2**16))
  with pytest.raises(UserError, match=r'model.weights.h5 has more than .* bytes'):
    keras_import.read(path, target)


def test_forged_descriptions_are_one_sentence(target, tmp_path, monkeypatch) -> None:
  """Each of 300 has one value replaced by another, anywhere in the description."""
  layers = [('Rescaling', {'name': 'scale', 'scale': 0.5, 'offset': 1}, {}), *layers_of()]
  center = {'name': 'center', 'axis': [-1], 'mean': [0.5, 0.5], 'variance': [1, 2]}
  layers.insert(1, ('Normalization', center, {}))
  whole = keras_files.load(write_h5(tmp_path / 'a.h5', layers))
  nodes = keras_import.trace(target.module, target.shapes, target.image_shape)
  monkeypatch.setattr(keras_import, 'trace', lambda *network: nodes)
  generator = np.random.default_rng(0)
  values = (
    None,
    -1,
    10**30,
    10**400,
    math.inf,
    'x',
    '',
    [],
    {},
    [[]],
    True,
    1.5,
    [1, 2, 3],
    'relu',
  )
  values += ({'class_name': 'Lambda'},)
  refused = 0
  for _ in range(300):
    config = copy.deepcopy(dict(whole.config or {}))
    places = list(containers(config))
    place = places[generator.integers(len(places))]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
      continue
    place[keys[generator.integers(len(keys))]] = values[generator.integers(len(values))]
    forged = keras_files.Saved(whole.arrays, config, whole.version, whole.backend)
    monkeypatch.setattr(keras_process, 'load', lambda path, most, saved=forged: saved)
    with only_user_errors('a.h5: '):
      keras_import.read(pathlib.Path('a.h5'), target)
      continue
    refused += 1
  assert refused > 150


def containers(value: Any) -> Any:
  if isinstance(value, dict | list):
    yield value
    for inner in value.values() if isinstance(value, dict) else value:
      yield from containers(inner)
