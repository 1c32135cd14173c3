"""Twenty updates of each system of article D0 are those of plain Flax and NumPy.

Each with another normalization, augmentation, placement, and division among devices, so that each
of these meets several networks; all of them on all ways with -m slow.
"""

import pytest

from tests.reference.input_path import Inputs
from tests.reference.systems import SYSTEMS, assert_same, compared, ways_of
from tests.reference.ways import CHANNEL, GIVEN, WAYS, ZCA

CASES = {
  'mlp': (Inputs(**ZCA, flip='random'), 'eight'),
  'cnn_simple': (Inputs(**CHANNEL, crop_padding=2), 'host, eight'),
  'cnn_adv': (Inputs(**GIVEN, flip='random', crop_padding=2, crop_border='zero'), 'mapped'),
  'cnn_fchollet': (Inputs(flip='alternating'), 'one device'),
  'cnn_pkaur': (Inputs(**GIVEN, cutout=6), 'host'),
}
# The ways among devices are gone by the linear network of test_input_path.py every day.
THOROUGH = ('mlp', 'cnn_simple', 'cnn_adv', 'cnn_pkaur')


@pytest.mark.parametrize(('name', 'way'), ways_of(CASES, thorough=THOROUGH))
def test_losses_and_parameters(tmp_path, name, way) -> None:
  found, expected = compared(name, tmp_path, CASES[name][0], **WAYS[way])
  assert_same(found, expected, SYSTEMS[name])


@pytest.mark.slow
@pytest.mark.parametrize('way', ['one device', 'eight', 'mapped'])
def test_a_short_last_batch(tmp_path, way) -> None:
  """Six rows where others are sixteen, for BatchNorm and dropout too."""
  inputs = Inputs(**GIVEN, flip='random')
  found, expected = compared('cnn_adv', tmp_path, inputs, examples=150, **WAYS[way])
  assert_same(found, expected, SYSTEMS['cnn_adv'])
