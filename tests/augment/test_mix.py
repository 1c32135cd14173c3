"""Mixup and CutMix: what is mixed, with what weights, and the loss of a mixed label."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from cifar_jax.augment import make_mix
from cifar_jax.augment.mix import random_partners, symmetric_beta
from cifar_jax.training import losses

ROWS = 600
# Row i has the color i + 1 everywhere, so that a mixture shows what it is made of.
IMAGES = np.broadcast_to(np.arange(1.0, ROWS + 1)[:, None, None, None], (ROWS, 8, 6, 2))
IMAGES = np.ascontiguousarray(IMAGES, np.float32)


def mixed(mixup: float, cutmix: float, key: int = 0, mask: np.ndarray | None = None):
  mix = make_mix(ConfigDict({'mixup': mixup, 'cutmix': cutmix}))
  assert mix is not None
  return jax.tree.map(np.asarray, jax.jit(mix)(jax.random.key(key), IMAGES, mask))


@settings(max_examples=15, deadline=None)
@given(batch=st.sampled_from([1, 2, 9]), count=st.integers(0, 20), seed=st.integers(0, 2**31))
def test_partners_are_other_rows_that_count(batch, count, seed) -> None:
  count = min(count, batch)
  mask = np.arange(batch) < count
  partners = np.asarray(random_partners(jax.random.key(seed), batch, mask))
  assert sorted(partners) == list(range(batch))
  assert (partners[:count] < max(count, 1)).all()
  assert count < 2 or (partners[:count] != np.arange(count)).all()


def test_mixup_blends_each_image_with_its_partner_by_its_own_weight() -> None:
  result = mixed(0.4, 0.0)
  assert result.weight.min() >= 0.5
  assert result.weight.max() <= 1
  assert len(np.unique(result.weight)) > ROWS / 2
  own, other = IMAGES, IMAGES[result.partners]
  weight = result.weight[:, None, None, None]
  np.testing.assert_allclose(result.images, weight * own + (1 - weight) * other, rtol=1e-6)


def test_weights_follow_the_beta_distribution() -> None:
  stats = pytest.importorskip('scipy.stats')
  for alpha in (0.1, 0.4, 1.0, 3.0):
    weights = np.asarray(symmetric_beta(jax.random.key(1), alpha, 4000))
    # In between the ends, where float32 has no steps to speak of.
    places = np.linspace(0.001, 0.999, 50)
    found = (weights[:, None] < places).mean(0)
    np.testing.assert_allclose(found, stats.beta(alpha, alpha).cdf(places), atol=0.031)


def test_cutmix_puts_a_box_of_the_partner_into_the_image() -> None:
  result = mixed(0.0, 1.0)
  for row, image in enumerate(result.images):
    foreign = (image != row + 1).all(-1)
    assert (image[foreign] == result.partners[row] + 1).all()
    np.testing.assert_allclose(1 - foreign.mean(), result.weight[row], atol=1e-6)
    if foreign.any():
      rows, columns = np.nonzero(foreign)
      box = foreign[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
      assert box.all()
  assert 0 <= result.weight.min() < 0.2
  assert 0.8 < result.weight.max() <= 1


def test_both_are_chosen_by_a_coin_for_each_image() -> None:
  result = mixed(1.0, 1.0)
  flat = result.images.reshape(ROWS, -1)
  # A blend is one color, between two whole numbers as a rule; a patched image has whole ones.
  blended = (flat == flat[:, :1]).all(1) & (flat[:, 0] % 1 != 0)
  assert 0.4 < blended.mean() < 0.6


def test_masked_rows_do_not_get_into_others() -> None:
  mask = np.arange(ROWS) < 7
  result = mixed(1.0, 0.0, mask=mask)
  assert result.partners[:7].max() < 7
  assert result.images[:7].max() <= 7


def test_same_key_same_mixtures() -> None:
  once, again, other = mixed(1.0, 1.0), mixed(1.0, 1.0), mixed(1.0, 1.0, key=1)
  np.testing.assert_array_equal(once.images, again.images)
  assert not np.array_equal(once.images, other.images)


def test_nothing_asked_for_is_no_mixture() -> None:
  assert make_mix(ConfigDict({'mixup': 0.0, 'cutmix': 0.0})) is None


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_loss_of_a_mixed_label_is_that_of_the_soft_target(smoothing) -> None:
  generator = np.random.default_rng(0)
  logits = generator.standard_normal((5, 4)).astype(np.float32)
  first, second = generator.integers(0, 4, (2, 5)).astype(np.int32)
  weight = np.array([0.0, 0.3, 0.5, 0.9, 1.0], np.float32)
  target = losses.MixedLabels(jnp.asarray(first), jnp.asarray(second), jnp.asarray(weight))
  found = target.losses(lambda x, y: losses.cross_entropy(x, y, smoothing), logits)
  soft = weight[:, None] * np.eye(4)[first] + (1 - weight[:, None]) * np.eye(4)[second]
  soft = (1 - smoothing) * soft + smoothing / 4
  log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  np.testing.assert_allclose(found, -(soft * log_probabilities).sum(1), rtol=1e-5)
  np.testing.assert_array_equal(target.main(), np.where(weight >= 0.5, first, second))
