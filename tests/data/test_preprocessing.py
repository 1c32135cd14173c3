"""The value that says how an image file becomes an input, as it is kept with a run."""

import dataclasses
import json

import pytest

from cifar_jax.data.preprocessing import Preprocessing, from_facts, of_arrays, of_folder
from cifar_jax.utils.errors import UserError
from configs import base

WANTED = Preprocessing(12, 9, 'pad', 'nearest', 10, source_channels=3, channels=1, pad_to=14)


def test_written_and_read_again() -> None:
  assert from_facts(json.loads(json.dumps(dataclasses.asdict(WANTED)))) == WANTED
  assert WANTED.shape == (14, 14, 1)


@pytest.mark.parametrize(
  'change',
  [
    {'height': '12'},
    {'height': 12.5},
    {'width': 0},
    {'width': None},
    {'resize': 'squeeze'},
    {'resize': 1},
    {'interpolation': ''},
    {'max_megapixels': True},
    {'channels': 5},
    {'pad_to': 10},  # smaller than the image
  ],
)
def test_facts_that_somebody_has_edited(change) -> None:
  with pytest.raises(ValueError, match='preprocessing'):
    from_facts({**dataclasses.asdict(WANTED), **change})


@pytest.mark.parametrize('facts', [None, [], 'crop', {}, {'height': 3}])
def test_facts_that_are_something_else(facts) -> None:
  with pytest.raises(ValueError, match='preprocessing'):
    from_facts(facts)


def test_of_a_config() -> None:
  config = base.get_config().data
  config.folder.image_size, config.folder.resize, config.channels = (7, 5), 'pad', 1
  assert of_folder(config) == Preprocessing(7, 5, 'pad', 'bilinear', 64.0, channels=1)
  assert of_folder(config).shape == (7, 5, 1)
  assert of_arrays(config, (28, 28, 1)).shape == (28, 28, 1)
  config.pad_to = 6
  with pytest.raises(UserError, match=r'pad_to=6 is smaller than the images of 7x5 pixels'):
    of_folder(config)
