"""Splits: disjoint, complete, reproducible, and named for what they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.data import Dataset, Split, check_classes_left, split, with_shared_images_noted
from cifar_jax.utils.errors import UserError


def numbered(train: int, test: int = 4) -> Dataset:
  """A data set whose images carry their own index in their first two pixels."""

  def part(start: int, count: int) -> Split:
    index = np.arange(start, start + count)
    images = np.zeros((count, 1, 2, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = index // 256, index % 256
    return Split(images, (index % 3).astype(np.int32))

  return Dataset('numbered', part(0, train), part(train, test), ('a', 'b', 'c'), 'here', True)


def indices(part: Split) -> list[int]:
  index = part.images[:, 0, 0, 0].astype(int) * 256 + part.images[:, 0, 1, 0]
  assert (index % 3 == part.labels).all()  # Every image keeps its label.
  return index.tolist()


@settings(deadline=None)
@given(
  total=st.integers(2, 600),
  data=st.data(),
  validation_from=st.sampled_from(['random', 'last']),
  seed=st.integers(0, 2**63 - 1),
)
def test_a_count_splits_into_disjoint_parts_that_cover_all(
  total: int, data: st.DataObject, validation_from: str, seed: int
) -> None:
  count = data.draw(st.integers(1, total - 1))
  dataset = numbered(total)
  splits = split(dataset, str(count), validation_from, seed)
  train, validation = indices(splits.train), indices(splits.validation)
  assert len(validation) == count
  assert sorted(train + validation) == list(range(total))
  assert train == sorted(train)
  assert validation == sorted(validation)
  assert splits.test is dataset.test
  again = split(dataset, str(count), validation_from, seed)
  assert indices(again.validation) == validation
  if validation_from == 'last':
    assert validation == list(range(total - count, total))


def test_random_depends_on_the_seed_and_is_uniform() -> None:
  dataset = numbered(500)
  drawn = [indices(split(dataset, '100', 'random', seed).validation) for seed in range(200)]
  assert drawn[0] != drawn[1]
  times = np.bincount(np.concatenate(drawn), minlength=500)
  # Each image is held out 200 x 0.2 = 40 times, with a deviation of sqrt(200 x 0.2 x 0.8) = 5.7.
  assert abs(times.mean() - 40) < 1e-9
  assert 4.5 < times.std() < 7
  assert times.min() > 40 - 5 * 5.7


@pytest.mark.parametrize(
  ('validation', 'expected'), [('0.1', 100), ('0.2', 200), ('1e-3', 1), ('.25', 250), ('250', 250)]
)
def test_fractions_and_counts(validation: str, expected: int) -> None:
  splits = split(numbered(1000), validation, 'last', 0)
  assert (len(splits.train), len(splits.validation)) == (1000 - expected, expected)
  assert not splits.validation_is_test
  assert splits.validation_label == 'validation'


def test_the_split_of_episode_2_is_the_last_fifth() -> None:
  # Keras: validation_split=0.2 of 50,000 takes the images from 40,000 on.
  splits = split(numbered(50_000), '10000', 'last', 7)
  assert indices(splits.train) == list(range(40_000))
  assert indices(splits.validation) == list(range(40_000, 50_000))


def test_test_used_as_validation_says_so() -> None:
  dataset = numbered(10)
  splits = split(dataset, 'test', 'random', 0)
  assert splits.validation is splits.test is dataset.test
  assert len(splits.train) == 10
  assert splits.validation_is_test
  assert splits.validation_label == 'test used as validation'


def test_carries_what_the_source_says() -> None:
  splits = split(numbered(10), '2', 'random', 0)
  assert (splits.name, splits.source, splits.synthetic) == ('numbered', 'here', True)
  assert (splits.num_classes, splits.image_shape) == (3, (1, 2, 1))
  assert splits.class_names == ('a', 'b', 'c')


@pytest.mark.parametrize(
  'validation',
  ['', 'all', '0', '-1', '10', '11', '0.0', '1.0', '-0.1', '1.5', 'nan', 'inf', '1e-9'],
)
def test_refuses_bad_values(validation: str) -> None:
  with pytest.raises(UserError, match=r'--config.data.validation='):
    split(numbered(10), validation, 'random', 0)


def test_refuses_other_bad_settings() -> None:
  with pytest.raises(UserError, match=r'--config.data.validation_from=first is unknown'):
    split(numbered(10), '2', 'first', 0)
  with pytest.raises(UserError, match=r'--config.seed=-1'):
    split(numbered(10), '2', 'random', -1)


def sorted_by_class(counts: list[int]) -> Dataset:
  labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
  train = Split(np.zeros((len(labels), 1, 1, 1), np.uint8), labels)
  return Dataset('x', train, train.take(slice(0)), ('a', 'b', 'rare'), 'here')


@pytest.mark.parametrize('validation_from', ['random', 'last'])
def test_no_run_begins_with_a_class_held_out_as_a_whole(validation_from: str) -> None:
  """Of 20, 20 and 1 images a fifth: the last are always all of the one, random ones sometimes."""
  dataset = sorted_by_class([20, 20, 1])
  refused = 0
  for seed in range(20):
    order = np.random.default_rng(seed).permutation(41)[:8]
    gone = validation_from == 'last' or 40 in order
    refused += gone
    splits = split(dataset, '0.2', validation_from, seed)
    assert (2 in splits.train.labels) != gone
    if gone:
      with pytest.raises(UserError, match=r'=0\.2 holds out all training images of rare'):
        check_classes_left(splits)
    else:
      check_classes_left(splits)
  assert 0 < refused <= 20


def test_the_last_images_of_a_sorted_source_are_told() -> None:
  dataset = sorted_by_class([20, 20, 20])
  (note,) = split(dataset, '6', 'last', 0).notes
  assert 'sorted by class, so the last 6, for validation, are of 1 of 3 classes' in note
  assert not split(dataset, '6', 'random', 0).notes
  assert not split(numbered(30), '6', 'last', 0).notes


def with_copies(groups: list[int], seed: int = 0) -> Dataset:
  """Groups of equal images of these sizes, in random order; of the test images 3 are in train."""
  numbers = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(groups)), groups))
  images = np.random.default_rng(1).integers(0, 256, (len(groups), 3, 2, 1), dtype=np.uint8)
  train = Split(images[numbers], np.zeros(len(numbers), np.int32))
  test = Split(np.concatenate([images[:3], 255 - images[:2]]), np.zeros(5, np.int32))
  return Dataset('copies', train, test, ('a', 'b'), 'here')


@pytest.mark.parametrize('validation_from', ['random', 'last'])
def test_duplicates_are_noted_and_kept_together(validation_from: str) -> None:
  dataset = with_copies([1] * 30 + [2] * 20 + [5] * 4)  # 90 images, 60 of them with a copy
  apart = split(dataset, '20', validation_from, 3)
  in_train = {image.tobytes() for image in apart.train.images}
  shared = sum(image.tobytes() in in_train for image in apart.validation.images)
  assert shared > 0
  notes = with_shared_images_noted(apart).notes
  assert f'{shared} of the 20 validation images have the same pixels as one of train' in notes
  assert any('keep_duplicates_together=True' in note for note in notes)

  together = split(dataset, '20', validation_from, 3, together=True)
  assert len(together.validation) + len(together.train) == 90
  assert 15 < len(together.validation) <= 20
  held = {image.tobytes() for image in together.validation.images}
  assert held.isdisjoint({image.tobytes() for image in together.train.images})
  notes = with_shared_images_noted(together).notes
  assert all('validation images' not in note and 'together' not in note for note in notes)
  in_train = {image.tobytes() for image in together.train.images}
  tested = sum(image.tobytes() in in_train for image in dataset.test.images)
  assert f'{tested} of the 5 test images have the same pixels as one of train' in notes


@pytest.mark.parametrize('validation_from', ['random', 'last'])
def test_without_duplicates_keeping_them_together_changes_nothing(validation_from: str) -> None:
  dataset = numbered(300)
  apart, together = (split(dataset, '0.2', validation_from, 5, kept) for kept in (False, True))
  assert indices(apart.validation) == indices(together.validation)
  assert indices(apart.train) == indices(together.train)
  assert with_shared_images_noted(apart).notes == ()


def test_keeping_duplicates_together_without_a_draw_is_told() -> None:
  (note,) = split(with_copies([1] * 9), 'test', 'random', 0, together=True).notes
  assert 'keep_duplicates_together changes nothing' in note


def test_groups_that_are_too_large_to_be_held_out() -> None:
  with pytest.raises(UserError, match='no group of equal images as small as the 2 to be held out'):
    split(with_copies([3, 3, 4]), '2', 'random', 0, together=True)
