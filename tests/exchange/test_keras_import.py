"""Files in the layouts of Keras 1 to 3 become variables; what does not fit is one sentence.

Expected arrays are those that were written, and where a layout changes them (Theano's), logits are
computed here by loops. tests/exchange/test_keras.py has Keras itself as the truth.
"""

import copy
import dataclasses
import json
import math
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.exchange import imports, keras_import
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_files, keras_process
from tests.helpers.keras_layouts import Layer, described, write_h5, write_keras
from tests.helpers.only_user_errors import only_user_errors

h5py = pytest.importorskip('h5py')

SIZE, CHANNELS, FILTERS, UNITS = 4, 2, 3, 5
KEYS = ('conv2d', 'batch_normalization', 'max_pooling2d', 'flatten', 'dense', 'dense_1')


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
  """The process of its own has a test of its own; these files are sound."""
  monkeypatch.setattr(keras_process, 'load', keras_files.load)


def config_of(**changes: Any) -> ConfigDict:
  fields = {
    'name': 'conv_net',
    'widths': (FILTERS,),
    'block': ('conv3 valid', 'batch_norm', 'max_pool'),
    'head': ('flatten', f'dense {UNITS} tanh'),
    'activation': 'relu',
  }
  data = {'normalize': 'given', 'mean': (0.0,), 'std': (1.0,)}
  return ConfigDict({'model': fields | changes, 'data': data})


def target_of(classes: int = 3, **changes: Any) -> imports.Target:
  names = [f'class {number}' for number in range(classes)]
  return imports.make_target(config_of(**changes), names, (SIZE, SIZE, CHANNELS))


@pytest.fixture(scope='module')
def target() -> imports.Target:
  return target_of()


def layers_of(classes: int = 3) -> list[Layer]:
  """The network of `config_of` as Keras 2 writes it, with Dropout in it, and a softmax."""
  draw = np.random.default_rng(0).standard_normal
  f32 = lambda *shape: draw(shape).astype(np.float32)  # noqa: E731
  flat = ((SIZE - 2) // 2) ** 2 * FILTERS
  conv = {'name': 'conv2d_1', 'kernel_size': [3, 3], 'strides': [1, 1], 'padding': 'valid'}
  conv |= {'activation': 'relu', 'data_format': 'channels_last', 'dilation_rate': [1, 1]}
  norm = {'name': 'norm', 'axis': -1, 'epsilon': 0.001, 'scale': True, 'center': True}
  pool = {'name': 'pool', 'pool_size': [2, 2], 'strides': [2, 2], 'padding': 'valid'}
  return [
    ('Conv2D', conv, {'kernel': f32(3, 3, CHANNELS, FILTERS), 'bias': f32(FILTERS)}),
    (
      'BatchNormalization',
      norm,
      {
        'gamma': f32(FILTERS),
        'beta': f32(FILTERS),
        'moving_mean': f32(FILTERS),
        'moving_variance': np.abs(f32(FILTERS)),
      },
    ),
    ('MaxPooling2D', pool, {}),
    ('Flatten', {'name': 'flat'}, {}),
    (
      'Dense',
      {'name': 'hidden', 'units': UNITS, 'activation': 'tanh'},
      {'kernel': f32(flat, UNITS), 'bias': f32(UNITS)},
    ),
    (
      'Dense',
      {'name': 'last', 'units': classes, 'activation': 'softmax'},
      {'kernel': f32(UNITS, classes), 'bias': f32(classes)},
    ),
  ]


def expected_of(layers: list[Layer]) -> dict[str, np.ndarray]:
  """Where the arrays of `layers_of` belong."""
  conv, norm, _, _, hidden, last = (arrays for _, _, arrays in layers)
  return {
    'params/Conv_0/kernel': conv['kernel'],
    'params/Conv_0/bias': conv['bias'],
    'params/BatchNorm_0/scale': norm['gamma'],
    'params/BatchNorm_0/bias': norm['beta'],
    'batch_stats/BatchNorm_0/mean': norm['moving_mean'],
    'batch_stats/BatchNorm_0/var': norm['moving_variance'],
    'params/Dense_0/kernel': hidden['kernel'],
    'params/Dense_0/bias': hidden['bias'],
    'params/logits/kernel': last['kernel'],
    'params/logits/bias': last['bias'],
  }


def flat(variables: dict[str, Any], prefix: str = '') -> dict[str, np.ndarray]:
  found = {}
  for key, value in variables.items():
    path = f'{prefix}{key}'
    found |= flat(value, f'{path}/') if isinstance(value, dict) else {path: value}
  return found


def assert_holds(found: imports.Imported, expected: dict[str, np.ndarray]) -> None:
  values = flat(found.variables)
  assert values.keys() == expected.keys()
  for path, array in expected.items():
    assert values[path].dtype == np.float32
    np.testing.assert_array_equal(values[path], array, path)


def test_a_whole_model_of_keras_2(target, tmp_path) -> None:
  layers = layers_of()
  dropout: Layer = ('Dropout', {'name': 'dropout_1', 'rate': 0.5}, {})
  found = keras_import.read(
    write_h5(tmp_path / 'a.h5', [*layers[:3], dropout, *layers[3:]]), target
  )
  assert_holds(found, expected_of(layers))
  assert found.normalization is None
  assert found.remarks == ('it does not normalize its images: that of the config is taken',)


def test_weights_alone_of_keras_2(target, tmp_path) -> None:
  layers = layers_of()
  found = keras_import.read(write_h5(tmp_path / 'a.h5', layers, whole=False), target)
  assert_holds(found, expected_of(layers))
  assert 'weights alone' in found.remarks[0]


@pytest.mark.parametrize('container', ['layers', '_layer_checkpoint_dependencies'])
@pytest.mark.parametrize('names', [True, False])
def test_a_keras_file(target, container, names, tmp_path) -> None:
  """Of Keras 3, and of TensorFlow 2.13 to 2.15; the groups are counted by class."""
  layers = layers_of()
  path = tmp_path / 'a.keras'
  write_keras(path, layers, KEYS, container=container, names=names)
  assert_holds(keras_import.read(path, target), expected_of(layers))


def test_weights_alone_of_keras_3_whose_groups_are_in_alphabetical_order(target, tmp_path) -> None:
  layers = layers_of()
  found = keras_import.read(write_keras(tmp_path / 'a.weights.h5', layers, KEYS), target)
  assert_holds(found, expected_of(layers))


def as_keras_1(layers: list[Layer]) -> list[Layer]:
  """The same in the words of Keras 1."""
  (_, conv, w), (_, norm, n), (_, pool, _), flatten, (_, hidden, h), (_, last, e) = layers
  order = {'dim_ordering': 'tf'}
  conv = {'name': conv['name'], 'nb_filter': FILTERS, 'nb_row': 3, 'nb_col': 3, **order}
  conv |= {'border_mode': 'valid', 'subsample': [1, 1], 'activation': 'relu', 'bias': True}
  norm = {'name': norm['name'], 'mode': 0, 'epsilon': 0.001, 'axis': -1}
  pool = {'name': pool['name'], 'pool_size': [2, 2], 'border_mode': 'valid', 'strides': [2, 2]}
  hidden = {'name': hidden['name'], 'output_dim': UNITS, 'activation': 'tanh'}
  last = {'name': last['name'], 'output_dim': 3, 'activation': 'softmax'}
  old = {'gamma': 'gamma', 'beta': 'beta', 'moving_mean': 'running_mean'}
  old |= {'moving_variance': 'running_std', 'kernel': 'W', 'bias': 'b'}
  renamed = [{old[name]: array for name, array in arrays.items()} for arrays in (w, n, h, e)]
  return [
    ('Convolution2D', conv, renamed[0]),
    ('BatchNormalization', norm, renamed[1]),
    ('MaxPooling2D', {**pool, **order}, {}),
    flatten,
    ('Dense', hidden, renamed[2]),
    ('Dense', last, renamed[3]),
  ]


def test_a_model_of_keras_1_on_tensorflow(target, tmp_path) -> None:
  layers = layers_of()
  path = write_h5(tmp_path / 'a.h5', as_keras_1(layers), version='1.2.2', backend='')
  assert_holds(keras_import.read(path, target), expected_of(layers))


def theano_logits(layers: list[Layer], images: np.ndarray) -> np.ndarray:
  """By loops, from kernels [F, C, 3, 3] that Theano turns, maps [C, H, W] and their flattening."""
  (_, _, conv), (_, _, norm), _, _, (_, _, hidden), (_, _, last) = layers
  conv = dict(zip(('kernel', 'bias'), conv.values(), strict=True))
  gamma, beta, mean, variance = norm.values()
  side = SIZE - 2
  rows = []
  for image in images.transpose(0, 3, 1, 2):
    maps = np.zeros((FILTERS, side, side))
    for f in range(FILTERS):
      for i in range(side):
        for j in range(side):
          window = image[:, i : i + 3, j : j + 3]
          maps[f, i, j] = np.sum(window * conv['kernel'][f, :, ::-1, ::-1]) + conv['bias'][f]
    maps = np.maximum(maps, 0)
    maps = (maps - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-3)
    maps = maps * gamma[:, None, None] + beta[:, None, None]
    pooled = maps.reshape(FILTERS, side // 2, 2, side // 2, 2).max((2, 4))
    w, b = hidden.values()
    vector = np.tanh(pooled.reshape(-1) @ w + b)
    w, b = last.values()
    rows.append(vector @ w + b)
  return np.array(rows)


@pytest.mark.parametrize(('version', 'backend'), [('1.2.2', ''), ('2.0.8', 'theano')])
def test_channels_first_on_theano(version, backend, tmp_path) -> None:
  """Keras 1 has kernels [F, C, h, w], Keras 2 [h, w, C, F]; both are turned, and both flatten
  channels first.
  """
  global SIZE
  SIZE = 6  # so that there is more than one pixel to flatten
  try:
    layers = layers_of()
    target = target_of()
    kinds = [(kind, dict(options), dict(arrays)) for kind, options, arrays in layers]
    kernel = layers[0][2]['kernel'].transpose(3, 2, 0, 1)
    by_hand = [(layers[0][0], layers[0][1], {**layers[0][2], 'kernel': kernel}), *layers[1:]]
    kinds[1][1]['axis'] = 1
    if version.startswith('1'):
      kinds[0][2]['kernel'] = kernel
      kinds = as_keras_1(kinds)
      kinds[1][1]['axis'] = 1
      for number in (0, 2):
        kinds[number][1]['dim_ordering'] = 'th'
    else:
      for number in (0, 2):
        kinds[number][1]['data_format'] = 'channels_first'
    path = write_h5(tmp_path / 'a.h5', kinds, version=version, backend=backend)
    found = keras_import.read(path, target)
    assert (version[0] == '1') == any('Theano' in remark for remark in found.remarks)
    images = np.random.default_rng(1).standard_normal((2, SIZE, SIZE, CHANNELS)).astype(np.float32)
    logits = models.apply(target.module, found.variables, images, train=False)
    np.testing.assert_allclose(logits, theano_logits(by_hand, images), rtol=1e-4, atol=1e-5)
  finally:
    SIZE = 4


def test_another_epsilon_goes_into_the_variances(target, tmp_path) -> None:
  layers = layers_of()
  layers[1][1]['epsilon'] = 0.5
  found = keras_import.read(write_h5(tmp_path / 'a.h5', layers), target)
  variances = layers[1][2]['moving_variance'].astype(np.float64) + 0.499
  np.testing.assert_allclose(found.variables['batch_stats']['BatchNorm_0']['var'], variances, 1e-6)
  assert any('adds 0.5 to variances' in remark for remark in found.remarks)
  given = dataclasses.replace(target, epsilon=0.25)
  said = keras_import.read(tmp_path / 'a.h5', given)
  var, same = (f.variables['batch_stats']['BatchNorm_0']['var'] for f in (found, said))
  np.testing.assert_array_equal(var, same)
  assert any('--epsilon is not used' in remark for remark in said.remarks)


def test_what_a_layer_does_not_learn_is_the_neutral_number(target, tmp_path) -> None:
  layers = layers_of()
  layers[1][1].update(scale=False, center=False)
  layers[0][1]['use_bias'] = False
  for number, name in ((1, 'gamma'), (1, 'beta'), (0, 'bias')):
    del layers[number][2][name]
  for path in (
    write_h5(tmp_path / 'a.h5', layers),
    write_keras(tmp_path / 'a.keras', layers, KEYS),
  ):
    params = keras_import.read(path, target).variables['params']
    np.testing.assert_array_equal(params['BatchNorm_0']['scale'], np.ones(FILTERS))
    np.testing.assert_array_equal(params['BatchNorm_0']['bias'], np.zeros(FILTERS))
    np.testing.assert_array_equal(params['Conv_0']['bias'], np.zeros(FILTERS))


def test_one_sigmoid_becomes_two_logits(tmp_path) -> None:
  layers = layers_of(classes=1)
  layers[-1][1]['activation'] = 'sigmoid'
  target = target_of(classes=2)
  found = keras_import.read(write_h5(tmp_path / 'a.h5', layers), target)
  kernel, bias = layers[-1][2].values()
  logits = found.variables['params']['logits']
  np.testing.assert_array_equal(logits['kernel'], np.hstack([np.zeros_like(kernel), kernel]))
  np.testing.assert_array_equal(logits['bias'], np.hstack([[0], bias]))
  assert any('became two logits' in remark for remark in found.remarks)


def test_vectors_from_the_start_need_no_flattening(tmp_path) -> None:
  inputs = SIZE * SIZE * CHANNELS
  kernel = np.random.default_rng(0).standard_normal((inputs, 3)).astype(np.float32)
  options = {'name': 'd', 'units': 3, 'activation': 'softmax', 'batch_input_shape': [None, inputs]}
  layers: list[Layer] = [('Dense', options, {'kernel': kernel, 'bias': np.zeros(3, np.float32)})]
  target = target_of(widths=(), block=(), head=('flatten',))
  found = keras_import.read(write_h5(tmp_path / 'a.h5', layers), target)
  np.testing.assert_array_equal(found.variables['params']['logits']['kernel'], kernel)
  assert any('flattened row by row' in remark for remark in found.remarks)


def test_the_normalization_in_a_file_is_that_of_the_import(target, tmp_path) -> None:
  """x / 127.5 - 1 of pixels, then (x - mean) / sqrt(variance) of each channel."""
  mean, variance = np.array([0.25, -0.5]), np.array([0.25, 4.0])
  front: list[Layer] = [
    ('Rescaling', {'name': 'scale', 'scale': 1 / 127.5, 'offset': -1}, {}),
    (
      'Normalization',
      {'name': 'center', 'axis': [-1], 'mean': None, 'variance': None},
      {'mean': mean, 'variance': variance, 'count': np.zeros((), np.int32)},
    ),
  ]
  layers = [*front, *layers_of()]
  path = write_keras(tmp_path / 'a.keras', layers, ('rescaling', 'normalization', *KEYS))
  found = keras_import.read(path, target)
  pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, CHANNELS)).astype(np.uint8)
  expected = (pixels / 127.5 - 1 - mean) / np.sqrt(variance)
  assert found.normalization is not None
  np.testing.assert_allclose(found.normalization(pixels), expected, rtol=1e-5, atol=1e-5)
  scale: Layer = ('Rescaling', {'name': 'scale', 'scale': 1 / 255}, {})
  same = write_h5(tmp_path / 'b.h5', [scale, *layers_of()])
  assert keras_import.read(same, target).normalization is None  # it is that of the config


@pytest.mark.parametrize(
  ('kind', 'options', 'arrays', 'message'),
  [
    ('Rescaling', {'scale': 'x'}, {}, "'new' has no scale of numbers"),
    ('Rescaling', {'scale': 0}, {}, 'a number that is not above 0'),
    ('Rescaling', {'scale': 1, 'offset': math.inf}, {}, 'a number that is not above 0, or is none'),
    ('Rescaling', {'scale': [1, 2, 3]}, {}, 'other channels than the 2'),
    ('Normalization', {}, {}, "'new' has no mean of numbers"),
    ('Dense', {}, {}, "'new' is no matrix of 32 x 32"),
    ('Dense', {}, {'kernel': np.ones((2, 2), np.float32)}, "'new' is no matrix of 32 x 32"),
    (
      'Dense',
      {},
      {'kernel': np.eye(32, dtype=np.float32), 'bias': np.ones(32, np.float32)},
      "'new' has a bias",
    ),
  ],
)
def test_what_is_no_normalization_of_images_is_named(
  kind, options, arrays, message, target, tmp_path
) -> None:
  layers = [(kind, {'name': 'new', **options}, arrays), *layers_of()]
  with pytest.raises(UserError, match=f'a.h5: .*{message}'):
    keras_import.read(write_h5(tmp_path / 'a.h5', layers), target)


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
