"""What is said of known data sets before they are there is what their sources deliver."""

import pytest

from cifar_jax import data
from cifar_jax.anatomy.expected import expected
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
  ],
)
def test_published_shapes(name, shape, classes) -> None:
  config = base.get_config().data
  config.name = name
  assert expected(config)[:2] == (shape, classes)
