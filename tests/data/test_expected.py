"""What is said of known data sets before they are there is what their sources deliver."""

import pytest

from cifar_jax import data
from cifar_jax.data.expected import expected
from cifar_jax.predict.classifier import preprocessing_of_older_run
from configs import base


def test_synthetic_images_are_as_expected() -> None:
  config = base.get_config().data
  config.name = 'synthetic'
  loaded = data.load(config)
  said = expected(config)
  assert said.image_shape == loaded.train.images.shape[1:]
  assert said.num_classes == len(loaded.class_names)
  assert said.knows_size
  assert said.knows_classes


@pytest.mark.parametrize(
  ('name', 'shape', 'classes'),
  [
    ('cifar10', (32, 32, 3), 10),
    ('cifar100', (32, 32, 3), 100),
    ('mnist', (28, 28, 1), 10),
    ('fashion_mnist', (28, 28, 1), 10),
    ('kmnist', (28, 28, 1), 10),
    ('svhn_cropped', (32, 32, 3), 10),
    ('svhn_extra', (32, 32, 3), 10),
    ('emnist_letters', (28, 28, 1), 26),
    ('emnist_balanced', (28, 28, 1), 47),
    ('stl10', (96, 96, 3), 10),
    ('digits', (8, 8, 1), 10),
  ],
)
def test_published_shapes(name, shape, classes) -> None:
  config = base.get_config().data
  config.name = name
  assert expected(config)[:2] == (shape, classes)


def test_an_npz_file_of_any_name_says_itself_what_it_holds() -> None:
  config = base.get_config().data
  for config.dir in ('mine.npz', 'MINE.NPZ'):
    said = expected(config)
    assert not said.knows_size
    assert not said.knows_classes
    config.pad_to = 40
    assert preprocessing_of_older_run(config, (40, 40, 3)) is None
    config.pad_to = 0


@pytest.mark.parametrize(('name', 'side'), [('svhn_cropped', 32), ('cifar10', 32), ('mnist', 28)])
def test_older_runs_on_known_data_know_what_is_inside_of_their_border(name, side) -> None:
  config = base.get_config().data
  config.name, config.pad_to = name, 40
  found = preprocessing_of_older_run(config, (40, 40, 3 if side == 32 else 1))
  assert found is not None
  assert (found.height, found.width, found.pad_to) == (side, side, 40)
