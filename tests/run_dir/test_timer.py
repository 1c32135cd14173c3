"""By a clock that goes as the test says."""

import math

import pytest

from cifar_jax.run_dir.timer import RunTimer, images_per_second
from cifar_jax.trainer import run_summary


class Hands:
  """The time of day, in seconds."""

  def __init__(self) -> None:
    self.time = 1000.0

  def __call__(self) -> float:
    return self.time


def test_an_epoch_with_compilation_and_waiting() -> None:
  hands = Hands()
  clock = RunTimer({}, hands)
  assert clock.input_bound_fraction == 0
  assert clock.left(0, 10) is None
  hands.time += 30
  clock.compiled(6)
  clock.trained(8, 200, 2)
  clock.trained(12, 300, 3)
  assert clock.left(6, 10) == (30 - 6) / 6 * 10
  assert clock.compile_seconds == 6
  assert clock.input_bound_fraction == (2 + 3) / (8 + 12)
  assert clock.end_epoch() == {'images_per_second': 500 / 20, 'epoch_seconds': 30}
  hands.time += 4
  clock.trained(1, 7)
  assert clock.end_epoch() == {'images_per_second': 7, 'epoch_seconds': 4}
  assert clock.input_bound_fraction == pytest.approx(5 / 21)
  assert clock.seconds == 34


def test_speed_of_epochs_in_which_everything_was_compiled_first() -> None:
  """They counted as 0 images/s, which halved the speed of a run of two epochs on a GPU."""
  hands = Hands()
  clock = RunTimer({}, hands)
  clock.compiled(6)
  first = clock.end_epoch()
  clock.trained(2, 100)
  second = clock.end_epoch()
  assert math.isnan(first['images_per_second'])
  assert images_per_second([first, second]) == 50
  assert images_per_second([first]) is None
  assert images_per_second([{'images_per_second': 0.0}, second]) == 50  # of an older version


def test_a_sitting_goes_on_where_the_last_one_saved() -> None:
  hands = Hands()
  first = RunTimer({}, hands)
  hands.time += 20
  first.trained(10, 100, 1)
  first.end_epoch()
  hands.time += 5
  saved = first.facts()
  hands.time += 3600  # nobody works on it
  second = RunTimer({**saved, 'data': 'fingerprint'}, hands)
  hands.time += 10
  second.trained(6, 30, 3)
  assert second.seconds == 35
  assert second.input_bound_fraction == (1 + 3) / (10 + 6)
  assert second.compile_seconds == 0
  assert second.left(2, 4) == 20
  # The epoch was under way for 5 seconds; the rate is that of this session.
  assert second.end_epoch() == {'images_per_second': 5, 'epoch_seconds': 15}


def test_the_closing_lines_say_how_much_was_waited(tmp_path) -> None:
  results = {
    **{'test_loss': 1.0, 'test_accuracy': 0.5, 'split_note': '', 'seconds': 3.0},
    **{'steps': 6, 'max_steps': 0, 'epochs': 1, 'images_per_second': 100.0},
  }
  line = 'data        0.3 % of training time spent waiting for images'
  for placement, shown in (('host', True), ('device', False)):
    found = {**results, 'placement': placement, 'input_bound_fraction': 0.0031}
    assert (line in run_summary.closing(found, tmp_path).splitlines()) == shown
  assert 'waiting' not in run_summary.closing(results, tmp_path)  # of an older version
