"""Early stopping and the plateau rule against Keras's callbacks and the counting of old."""

import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.training import monitor

GENERATOR = np.random.default_rng(0)


def rows_of(values, name='val_loss'):
  return [{name: float(value)} for value in values]


def stopping(**options) -> ConfigDict:
  plain = {'patience': 2, 'monitor': 'val_loss', 'min_delta': 0.0, 'patience_semantics': 'keras'}
  return ConfigDict({**plain, **options})


def plateau(**options) -> ConfigDict:
  plain = {'factor': 0.5, 'cooldown': 0, 'min_learning_rate': 0.0}
  return ConfigDict({**stopping(min_delta=1e-4), **plain, **options})


def last_epoch(config: ConfigDict, values) -> int | None:
  """The number, from 0, of the epoch after which the run ends."""
  rows = rows_of(values, config.monitor)
  ends = [e for e in range(len(rows)) if monitor.stops_early(config, rows[: e + 1])]
  return ends[0] if ends else None


def test_article_d3_stopped_after_epoch_34_with_its_best_at_31() -> None:
  """Patience 2 in Keras 2.0: the third epoch in a row without improvement ends the run."""
  losses = [*np.linspace(1.0, 0.3, 32), 0.4, 0.35, 0.31, 0.5]
  assert last_epoch(stopping(patience_semantics='keras2.0'), losses) == 34
  assert last_epoch(stopping(patience_semantics='keras'), losses) == 33


def test_patience_counts_from_the_best_and_starts_again() -> None:
  assert last_epoch(stopping(), [5, 6, 4, 4, 3, 3.5, 3.2, 1]) == 6
  assert last_epoch(stopping(), [5, 6, 4, 4, 3, 3.5, 2]) is None
  assert last_epoch(stopping(patience=0), [1, 2, 3, 4, 5, 6]) is None
  assert last_epoch(stopping(min_delta=0.5), [5, 4.8, 4.6]) == 2
  assert last_epoch(stopping(monitor='val_accuracy'), [0.1, 0.3, 0.2, 0.25, 0.9]) == 3


def test_epochs_without_validation_are_passed_over() -> None:
  nan = float('nan')
  assert last_epoch(stopping(), [5, nan, 6, nan, nan, 7]) == 5


@pytest.mark.parametrize('patience', [1, 3])
@pytest.mark.parametrize('min_delta', [0.0, 0.2])
@pytest.mark.thorough
def test_stops_when_keras_stops(patience, min_delta) -> None:
  keras = pytest.importorskip('keras')
  for _ in range(20):
    values = GENERATOR.uniform(size=30) + np.linspace(1, 0, 30)
    callback = keras.callbacks.EarlyStopping('val_loss', min_delta, patience, mode='min')
    callback.set_model(types.SimpleNamespace(stop_training=False))
    callback.on_train_begin()
    for epoch, value in enumerate(values):
      callback.on_epoch_end(epoch, {'val_loss': value})
      if callback.model.stop_training:
        break
    expected = epoch if callback.model.stop_training else None
    assert last_epoch(stopping(patience=patience, min_delta=min_delta), values) == expected


@pytest.mark.parametrize('patience', [1, 3])
@pytest.mark.parametrize('cooldown', [0, 2])
@pytest.mark.thorough
def test_rate_is_that_of_keras(patience, cooldown) -> None:
  keras = pytest.importorskip('keras')
  for _ in range(10):
    values = GENERATOR.uniform(size=25) + np.linspace(1, 0, 25)
    callback = keras.callbacks.ReduceLROnPlateau(
      'val_loss', 0.5, patience, mode='min', min_delta=1e-4, cooldown=cooldown, min_lr=0.01
    )
    optimizer = types.SimpleNamespace(learning_rate=np.float64(0.1))
    callback.set_model(types.SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    config = plateau(patience=patience, cooldown=cooldown, min_learning_rate=0.01)
    for epoch, value in enumerate(values):
      callback.on_epoch_end(epoch, {'val_loss': value})
      factor = monitor.lr_scale(config, rows_of(values[: epoch + 1]), 0.1)
      np.testing.assert_allclose(0.1 * factor, float(optimizer.learning_rate), rtol=1e-6)


def test_plateau_by_hand_in_both_countings() -> None:
  values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]

  def factors(semantics):
    config = plateau(patience_semantics=semantics)
    return [monitor.lr_scale(config, rows_of(values[:n]), 0.1) for n in range(1, 8)]

  np.testing.assert_allclose(factors('keras'), [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25])
  # The epoch of a reduction counts as the first one of the next wait.
  np.testing.assert_allclose(factors('keras2.0'), [1, 1, 1, 0.5, 0.5, 0.25, 0.25])
  assert monitor.lr_scale(plateau(patience=0), rows_of(values), 0.1) == 1


@pytest.mark.parametrize(
  ('name', 'earlier', 'value', 'best'),
  [
    ('val_loss', [], 2.0, True),
    ('val_loss', [1.0, 3.0], 0.9, True),
    ('val_loss', [1.0, 3.0], 1.0, False),
    ('val_accuracy', [0.5, 0.7], 0.71, True),
    ('val_accuracy', [0.5, 0.7], 0.6, False),
    ('val_accuracy', [np.nan, 0.5], 0.6, True),
    ('val_accuracy', [np.nan], np.nan, False),
    ('val_loss', [0.5], np.nan, False),
  ],
)
def test_best_epoch(name: str, earlier: list[float], value: float, best: bool) -> None:
  assert monitor.is_best({name: value}, rows_of(earlier, name), name) is best
