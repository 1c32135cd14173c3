"""Twenty updates of each system of the articles D1 to D4 are those of plain Flax and NumPy; see
`test_networks_of_d0`.
"""

import pytest

from tests.reference.input_path import Inputs
from tests.reference.systems import SYSTEMS, assert_same, compared, ways_of
from tests.reference.ways import CHANNEL, GIVEN, WAYS, ZCA

CASES = {
  'tutorial_4layer': (Inputs(**CHANNEL), 'eight'),
  'tutorial_6layer': (Inputs(**CHANNEL, flip='alternating', cutout=5), 'one device'),
  'episode2': (Inputs(**ZCA, crop_padding=3), 'mapped'),
  'p5_dcnn': (Inputs(**GIVEN), 'one device'),
  'p5_8140': (Inputs(**CHANNEL, flip='random'), 'host'),
  'lenet5': (Inputs(mean=(0.3,), std=(0.25,)), 'one device'),
}


# Their layers, and their ways, are those of the networks of D0 and of the linear network.
@pytest.mark.parametrize(('name', 'way'), ways_of(CASES, thorough=CASES))
def test_losses_and_parameters(tmp_path, name, way) -> None:
  found, expected = compared(name, tmp_path, CASES[name][0], **WAYS[way])
  assert_same(found, expected, SYSTEMS[name])
