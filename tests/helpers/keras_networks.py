"""Networks of configs with random variables, to compare Keras with."""

import functools
import importlib
from typing import Any

import jax
import numpy as np

from cifar_jax import models
from cifar_jax.exchange import imports

SHAPES = {'catsdogs_scratch': (150, 150, 3), 'lenet5': (28, 28, 1)}
ARTICLES = (
  *('lr', 'mlp', 'cnn_simple', 'cnn_adv', 'cnn_fchollet', 'cnn_pkaur', 'episode2'),
  *('tutorial_4layer', 'tutorial_6layer', 'lenet5', 'p5_dcnn', 'p5_8140', 'catsdogs_scratch'),
)


def random_values(path: Any, leaf: Any) -> np.ndarray:
  """Values that no layer leaves out: variances, means and scales as after a training."""
  generator = np.random.default_rng(list(jax.tree_util.keystr(path).encode()))
  values, name = generator.standard_normal(leaf.shape), path[-1].key
  if name == 'kernel':
    values *= np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 1))
  elif name == 'var':
    values = np.exp(0.3 * values)
  else:
    values = (name == 'scale') + 0.2 * values
  return values.astype(np.float32)


def network_of(name: str, **changes: Any) -> tuple[imports.Target, dict[str, Any]]:
  """The network of a config with random variables."""
  config = importlib.import_module(f'configs.{name}').get_config()
  config.model.dtype = 'float32'
  for key, value in changes.items():
    config.model[key] = value
  names = [f'class {number}' for number in range(10)]
  target = imports.make_target(config, names, SHAPES.get(name, (32, 32, 3)))
  return target, jax.tree_util.tree_map_with_path(random_values, dict(target.shapes))


def inputs_of(target: imports.Target, count: int = 3) -> np.ndarray:
  generator = np.random.default_rng(0)
  return generator.standard_normal((count, *target.image_shape)).astype(np.float32)


def logits_of(target: imports.Target, variables: Any, images: np.ndarray) -> np.ndarray:
  apply = jax.jit(functools.partial(models.apply, target.module, train=False))
  return np.asarray(apply(variables, images))


def assert_close(found: Any, expected: np.ndarray) -> None:
  largest = np.abs(expected).max()
  np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=2e-5 * max(1, largest))


def assert_same(found: Any, expected: Any) -> None:
  jax.tree.map(np.testing.assert_array_equal, found, dict(expected))
