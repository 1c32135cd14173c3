"""What reaches the network, by a linear one: every pixel of every image of 20 updates tells."""

import pytest

from tests.reference.input_path import Inputs
from tests.reference.systems import SYSTEMS, assert_same, compared
from tests.reference.ways import GIVEN, NORMALIZATIONS, WAYS

AUGMENTATIONS = {
  'none': {},
  'alternating, crop, cutout': {'flip': 'alternating', 'crop_padding': 2, 'cutout': 3},
  'random, zero crop': {'flip': 'random', 'crop_padding': 1, 'crop_border': 'zero'},
}
CROSS = [(n, a, w) for n in NORMALIZATIONS for a in AUGMENTATIONS for w in WAYS]
# Every pair of normalization and augmentation, and every way with each of them.
PAIRS = [
  (normalization, augmentation, list(WAYS)[(i + 2 * j) % len(WAYS)])
  for i, normalization in enumerate(NORMALIZATIONS)
  for j, augmentation in enumerate(AUGMENTATIONS)
]


# Every normalization and every augmentation.
DAILY = [
  ('channel', 'none', 'eight'),
  ('channel', 'random, zero crop', 'one device'),
  ('zca', 'alternating, crop, cutout', 'host, eight'),
]


def marks(case: tuple[str, str, str]) -> tuple[pytest.MarkDecorator, ...]:
  if case in DAILY:
    return ()
  return (pytest.mark.thorough if case in PAIRS else pytest.mark.slow,)


@pytest.mark.parametrize(
  ('normalization', 'augmentation', 'way'),
  [pytest.param(*case, marks=marks(case)) for case in CROSS],
)
def test_losses_of_a_linear_network(tmp_path, normalization, augmentation, way) -> None:
  inputs = Inputs(**NORMALIZATIONS[normalization], **AUGMENTATIONS[augmentation])
  found, expected = compared('lr', tmp_path, inputs, **WAYS[way])
  assert_same(found, expected, SYSTEMS['lr'])


def test_many_updates_in_one_dispatch(tmp_path) -> None:
  inputs = Inputs(**GIVEN, flip='alternating', crop_padding=2)
  found, expected = compared('lr', tmp_path, inputs, dispatch=5, **WAYS['one device'])
  assert_same(found, expected, SYSTEMS['lr'])


@pytest.mark.parametrize(
  'way',
  [
    pytest.param('eight', marks=pytest.mark.thorough),
    pytest.param('mapped', marks=pytest.mark.slow),
  ],
)
def test_a_short_last_batch(tmp_path, way) -> None:
  """Six rows, where others are sixteen."""
  inputs = Inputs(**GIVEN, flip='random', crop_padding=2, cutout=3)
  found, expected = compared('lr', tmp_path, inputs, examples=150, **WAYS[way])
  assert_same(found, expected, SYSTEMS['lr'])
