"""Twenty updates of each article's system are those of plain Flax and NumPy.

Each with another normalization, augmentation, placement, and division among devices, so that each
of these meets several networks.
"""

import pytest

from tests.reference.input_path import Inputs
from tests.reference.systems import SYSTEMS, assert_same, compared
from tests.reference.ways import CHANNEL, EIGHT, GIVEN, HOST, HOST_EIGHT, MAPPED, ONE, ZCA

GREY = {'mean': (0.3,), 'std': (0.25,)}

CASES = {
  'mlp': (Inputs(**ZCA, flip='random'), ONE),
  'cnn_simple': (Inputs(**CHANNEL, crop_padding=2), HOST_EIGHT),
  'cnn_adv': (Inputs(**GIVEN, flip='random', crop_padding=2, crop_border='zero'), MAPPED),
  'cnn_fchollet': (Inputs(flip='alternating'), EIGHT),
  'cnn_pkaur': (Inputs(**GIVEN, cutout=6), HOST),
  'tutorial_4layer': (Inputs(**CHANNEL), ONE),
  'tutorial_6layer': (Inputs(**CHANNEL, flip='alternating', cutout=5), ONE),
  'episode2': (Inputs(**ZCA, crop_padding=3), MAPPED),
  'p5_dcnn': (Inputs(**GIVEN), EIGHT),
  'p5_8140': (Inputs(**CHANNEL, flip='random'), HOST_EIGHT),
  'lenet5': (Inputs(**GREY), ONE),
}


@pytest.mark.parametrize('name', CASES)
def test_losses_and_parameters(tmp_path, name) -> None:
  inputs, way = CASES[name]
  found, expected = compared(name, tmp_path, inputs, **way)
  assert_same(found, expected, SYSTEMS[name])


@pytest.mark.slow
@pytest.mark.parametrize('way', [ONE, EIGHT, MAPPED])
def test_a_short_last_batch(tmp_path, way) -> None:
  """Six rows where others are sixteen, for BatchNorm and dropout too."""
  inputs = Inputs(**GIVEN, flip='random')
  found, expected = compared('cnn_adv', tmp_path, inputs, examples=150, **way)
  assert_same(found, expected, SYSTEMS['cnn_adv'])
