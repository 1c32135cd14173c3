"""Files in the layouts of Keras 1 to 3 become variables; what does not fit is one sentence.

Expected arrays are those that were written, and where a layout changes them (Theano's), logits are
computed here by loops. tests/exchange/test_keras_trained.py has Keras itself as the truth.
"""

import dataclasses
import math

import numpy as np
import pytest

from cifar_jax import models
from cifar_jax.exchange import imports, keras_import
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_files, keras_process
from tests.helpers.keras_layouts import Layer, write_h5, write_keras
from tests.helpers.keras_small import (
  CHANNELS,
  FILTERS,
  KEYS,
  SIZE,
  UNITS,
  assert_holds,
  expected_of,
  layers_of,
  target_of,
)

h5py = pytest.importorskip('h5py')


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
  """The process of its own has a test of its own; these files are sound."""
  monkeypatch.setattr(keras_process, 'load', keras_files.load)


@pytest.fixture(scope='module')
def target() -> imports.Target:
  return target_of()


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
  side = images.shape[1] - 2
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
  size = 6  # so that there is more than one pixel to flatten
  layers = layers_of(size=size)
  target = target_of(size=size)
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
  images = np.random.default_rng(1).standard_normal((2, size, size, CHANNELS)).astype(np.float32)
  logits = models.apply(target.module, found.variables, images, train=False)
  np.testing.assert_allclose(logits, theano_logits(by_hand, images), rtol=1e-4, atol=1e-5)


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
