"""The views of a data set, on the small one of the tests."""

import numpy as np
import pytest

from cifar_jax.report import data_views

pytest.importorskip('matplotlib')
pytest.importorskip('jinja2')


def test_facts_and_page(tiny_config, tmp_path) -> None:
  text = data_views.write_views(tiny_config, tmp_path)
  assert 'X_train shape: (200, 8, 8, 3)\n200 train samples' in text
  assert '90 test samples' in text
  page = (tmp_path / 'index.html').read_text()
  assert '200 train samples' in page
  for name in ('classes_2x5', 'classes_10x10', 'random_24', 'balance'):
    assert (tmp_path / f'{name}.png').stat().st_size > 1000
    assert (tmp_path / f'{name}.svg').exists()


def test_augmented_sheet_shows_originals_at_the_left(tiny_config) -> None:
  """Without augmentation all nine pictures of a row are the same."""
  from cifar_jax import data

  train = data.load(tiny_config.data).train
  sheet = data_views.augmented_sheet(tiny_config, train, np.random.default_rng(0))
  side, step = 8 * 12, 10 * 12
  first = sheet[:side, :side]
  assert any((first[::12, ::12] == image).all() for image in train.images)
  for column in range(9):
    np.testing.assert_array_equal(sheet[:side, column * step : column * step + side], first)
