"""Test-time views of the least confident images alone, against NumPy over a whole set at once."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.commands import main
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.trainer import loop
from cifar_jax.training.tta import least_confident
from tests.helpers import tiny
from tests.helpers.runs import SILENT, changed, trainer_on

SELECTIVE = {'evaluate.tta': 'flip_translate', 'evaluate.tta_fraction': 0.25}


def softmax(logits: np.ndarray) -> np.ndarray:
  powers = np.exp(logits - logits.max(axis=1, keepdims=True))
  return powers / powers.sum(axis=1, keepdims=True)


def views(images: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
  """The weights and images of 'flip_translate'."""
  height, width = images.shape[1:3]
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect')
  shifted = [images, padded[:, :height, :width], padded[:, 2:, 2:]]
  mirrored = [view[:, :, ::-1] for view in shifted]
  return [1 / 4, 1 / 8, 1 / 8] * 2, shifted + mirrored


@pytest.mark.parametrize(
  ('confidences', 'fraction', 'expected'),
  [
    ([0.9, 0.4, 0.8, 0.3, 0.7, 0.99, 0.98, 0.97], 0.25, [1, 3]),
    ([0.9, 0.4, 0.8, 0.3, 0.7, 0.99, 0.98, 0.97], 0.5, [1, 2, 3, 4]),
    ([0.5, 0.6, 0.5, 0.5, 0.6], 0.4, [0, 2]),  # of equal ones the earlier
    ([0.5, 0.6, 0.5, 0.5, 0.6], 0.8, [0, 1, 2, 3]),
    ([0.5, 0.6, 0.4], 0.5, [0, 2]),  # 1.5 are 2
    ([0.5, 0.6, 0.4], 0.1, []),
    ([0.5, 0.6, 0.4], 1.0, [0, 1, 2]),
    ([], 0.25, []),
  ],
)
def test_which_are_chosen(confidences, fraction, expected) -> None:
  chosen = least_confident(np.array(confidences, np.float32), fraction)
  assert chosen.dtype == np.int32
  assert chosen.tolist() == expected


@pytest.fixture(scope='module')
def random_weights():
  """Parameters of a scale at which views and confidences differ, for any number of devices."""

  def redrawn(trainer):
    state = trainer.init()
    generator = np.random.default_rng(7)
    # BatchNorm's statistics stay as they are.
    params = jax.tree.map(
      lambda array: jax.device_put(
        generator.normal(0, 0.5, array.shape).astype(np.float32), array.sharding
      ),
      state.params,
    )
    return state.replace(params=params)

  return redrawn


def numpy_evaluation(trainer, state, split, fraction: float) -> tuple[float, float]:
  """The loss and the accuracy, of logits in double precision."""

  def logits(pixels: np.ndarray) -> np.ndarray:
    variables = {'params': state.params, 'batch_stats': state.batch_stats}
    found = trainer.recipe.module.apply(
      jax.device_get(variables), jnp.asarray(pixels, jnp.float32), train=False
    )
    return np.asarray(found, np.float64)

  pixels = split.images / 255
  found = logits(pixels)
  if count := round(fraction * len(found)):
    unsure = np.argsort(softmax(found).max(1))[:count]
    weights, seen = views(pixels[unsure])
    found[unsure] = sum(w * logits(view) for w, view in zip(weights, seen, strict=True))
  losses = -np.log(softmax(found)[np.arange(len(found)), split.labels])
  return losses.mean(), np.mean(found.argmax(1) == split.labels)


@pytest.mark.parametrize(
  ('devices', 'options'),
  [
    (1, {}),
    (1, {'data.placement': 'host'}),
    pytest.param(3, {}, marks=pytest.mark.thorough),
    pytest.param(3, {'data.placement': 'host'}, marks=pytest.mark.thorough),
    (3, {'parallel': 'pmap'}),
  ],
  ids=str,
)
def test_a_quarter_is_seen_in_all_views(
  tiny_config, monkeypatch, random_weights, devices, options
) -> None:
  """Batches of 16, or 18 on three devices: 90 images and 22 of them; 13 and 3; 2 and none."""
  monkeypatch.setattr('cifar_jax.trainer.evaluator.EVALUATION_BATCH', 16)
  trainer, splits = trainer_on(tiny_config, devices, **tiny.ONE_LAYER, **SELECTIVE, **options)
  state = random_weights(trainer)
  for count in (90, 13, 2):
    split = splits.test.take(slice(count))
    found = trainer.evaluate(state, trainer.evaluate.place(split))
    loss, accuracy = numpy_evaluation(trainer, state, split, 0.25)
    assert found['loss'] == pytest.approx(loss, rel=1e-5)
    assert found['accuracy'] == pytest.approx(accuracy, rel=1e-7)

  whole = numpy_evaluation(trainer, state, splits.test, 0.25)
  for fraction in (0, 1):
    other = numpy_evaluation(trainer, state, splits.test, fraction)
    assert all(a != pytest.approx(b, rel=1e-3) for a, b in zip(other, whole, strict=True))


def test_the_second_look_is_at_the_chosen_ones_alone(
  tiny_config, monkeypatch, random_weights
) -> None:
  """Six views of 22 images: two batches of 16, after six of one view."""
  monkeypatch.setattr('cifar_jax.trainer.evaluator.EVALUATION_BATCH', 16)
  trainer, splits = trainer_on(tiny_config, 1, **tiny.ONE_LAYER, **SELECTIVE)
  calls = []

  def counted(views, step):
    return lambda *arguments: (calls.append(views), step(*arguments))[1]

  judges = trainer.evaluate.judges
  for views_, (step, batch) in judges.items():
    judges[views_] = counted(views_, step), batch
  trainer.evaluate(random_weights(trainer), trainer.evaluate.place(splits.test))
  assert calls == ['none'] * 6 + ['flip_translate'] * 2


def test_all_that_measures_a_set_agrees(tiny_config, tmp_path, capsys) -> None:
  """Training, the command and the probabilities that reports are made of."""
  config = changed(tiny_config, epochs=1, **tiny.ONE_LAYER, **SELECTIVE)
  results = loop.train(config, tmp_path, SILENT)
  found = evaluate(tmp_path)
  assert (found['accuracy'], found['loss']) == (results['test_accuracy'], results['test_loss'])
  main(['evaluate', str(tmp_path), '--json'])
  printed = json.loads(capsys.readouterr().out)
  assert printed['loss'] == results['test_loss']

  network, test = classifier.load(tmp_path), data.load_splits(config).test
  of_set, every = network.probabilities_of_set(test.images), network.probabilities(test.images)
  loss = -np.log(of_set[np.arange(90), test.labels].astype(np.float64)).mean()
  assert loss == pytest.approx(found['loss'], rel=1e-5)
  different = np.abs(of_set - every).max(axis=1) > 1e-4
  assert 60 <= different.sum() <= 68  # some are the same by chance
  alone = np.concatenate([network.probabilities(image[None]) for image in test.images[:4]])
  np.testing.assert_allclose(alone, every[:4], rtol=1e-4)


def test_without_views_the_fraction_does_nothing(tiny_config) -> None:
  trainer, _ = trainer_on(tiny_config, 1, **{'evaluate.tta_fraction': 0.25})
  assert not trainer.evaluate.selective
