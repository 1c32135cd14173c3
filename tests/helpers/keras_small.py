"""A small network as Keras 2 writes it, and where its arrays belong here."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.exchange import imports
from tests.helpers.keras_layouts import Layer

SIZE, CHANNELS, FILTERS, UNITS = 4, 2, 3, 5
KEYS = ('conv2d', 'batch_normalization', 'max_pooling2d', 'flatten', 'dense', 'dense_1')


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


def target_of(classes: int = 3, size: int = SIZE, **changes: Any) -> imports.Target:
  names = [f'class {number}' for number in range(classes)]
  return imports.make_target(config_of(**changes), names, (size, size, CHANNELS))


def layers_of(classes: int = 3, size: int = SIZE) -> list[Layer]:
  """The network of `config_of` as Keras 2 writes it, with Dropout in it, and a softmax."""
  draw = np.random.default_rng(0).standard_normal
  f32 = lambda *shape: draw(shape).astype(np.float32)  # noqa: E731
  flat = ((size - 2) // 2) ** 2 * FILTERS
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
