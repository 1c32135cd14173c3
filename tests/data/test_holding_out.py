"""Shares of classes, whole groups and folds, beside scikit-learn's."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection

from cifar_jax import data
from cifar_jax.data import Dataset, Split, holding_out, split
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.npz_files import write

CLASSES = ('a', 'b', 'c', 'd')


def drawn(seed: int, total: int = 150, groups: int = 30) -> tuple[np.ndarray, np.ndarray]:
  """Labels of which the first classes are rare, and groups of all sizes."""
  generator = np.random.default_rng(seed)
  labels = generator.choice(len(CLASSES), total, p=[0.05, 0.15, 0.3, 0.5]).astype(np.int32)
  weights = generator.dirichlet(np.full(groups, 0.7))
  return labels, generator.choice(groups, total, p=weights)


def dataset(labels: np.ndarray, groups: np.ndarray | None = None, test: int = 2) -> Dataset:
  """Each image is its index, in two pixels."""
  index = np.arange(len(labels))
  images = np.stack([index // 256, index % 256], axis=-1).astype(np.uint8).reshape(-1, 1, 2, 1)
  train = Split(images, labels, groups=groups)
  tests = Split(images[:test], labels[:test])
  return Dataset('mine', train, tests, CLASSES, 'mine.npz')


def index_of(part: Split) -> np.ndarray:
  return part.images[:, 0, 0, 0].astype(int) * 256 + part.images[:, 0, 1, 0]


@pytest.mark.parametrize(
  ('counts', 'wanted', 'expected'),
  [
    ([50, 30, 20], 10, [5, 3, 2]),
    ([50, 30, 20], 7, [4, 2, 1]),  # 3.5, 2.1, 1.4
    ([1, 1, 1], 2, [1, 1, 0]),  # equal remainders: the first
    ([97, 2, 1], 10, [10, 0, 0]),  # 9.7, 0.2, 0.1
    ([3, 0, 5], 8, [3, 0, 5]),
  ],
)
def test_shares_by_largest_remainders(counts: list[int], wanted: int, expected: list[int]) -> None:
  assert holding_out.shares(np.array(counts), wanted).tolist() == expected


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 149), last=st.booleans())
def test_a_stratified_part_has_the_share_of_each_class(seed: int, count: int, last: bool) -> None:
  labels, _ = drawn(seed)
  splits = split(dataset(labels), str(count), 'last' if last else 'random', seed, stratified=True)
  held, kept = index_of(splits.validation), index_of(splits.train)
  assert sorted([*held, *kept]) == list(range(150))
  assert len(held) == count
  share = np.bincount(labels, minlength=4) * count / 150
  assert (np.abs(np.bincount(labels[held], minlength=4) - share) < 1).all()
  (note,) = splits.notes
  of_each = np.bincount(labels[held], minlength=4)[np.unique(labels)]
  if of_each.min() < of_each.max():
    assert note == f'held out: {of_each.min()} to {of_each.max()} images of a class'
  if last:  # of each class its last images
    for label in range(4):
      of_class = np.flatnonzero(labels == label)
      number = (labels[held] == label).sum()
      assert held[labels[held] == label].tolist() == of_class[len(of_class) - number :].tolist()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), stratified=st.booleans())
def test_groups_stay_on_one_side(seed: int, stratified: bool) -> None:
  labels, groups = drawn(seed)
  names = np.array([f'patient {group}' for group in groups])
  splits = split(dataset(labels, names), '0.3', 'random', seed, grouped=True, stratified=stratified)
  held, kept = index_of(splits.validation), index_of(splits.train)
  assert sorted([*held, *kept]) == list(range(150))
  assert not set(groups[held]) & set(groups[kept])
  assert 0 < len(held) < 150
  if not stratified:
    assert len(held) <= 45
  (note,) = splits.notes
  assert note.startswith(f'held out: {len(set(groups[held]))} of {len(set(groups))} groups')


@settings(deadline=None, max_examples=25)
@given(
  seed=st.integers(0, 10_000),
  folds=st.integers(2, 8),
  stratified=st.booleans(),
  grouped=st.booleans(),
)
def test_folds_are_disjoint_and_complete_and_the_same_each_time(
  seed: int, folds: int, stratified: bool, grouped: bool
) -> None:
  labels, groups = drawn(seed)
  whole = dataset(labels, groups)
  options = {'folds': folds, 'stratified': stratified, 'grouped': grouped}
  every = [split(whole, '0.1', 'random', seed, **options, fold=fold) for fold in range(folds)]
  held = [index_of(splits.validation) for splits in every]
  assert sorted(np.concatenate(held)) == list(range(150))
  for splits, own in zip(every, held, strict=True):
    assert sorted([*own, *index_of(splits.train)]) == list(range(150))
    assert splits.test is whole.test
    assert not splits.validation_is_test
    if grouped:
      assert not set(groups[own]) & set(groups[index_of(splits.train)])
  again = split(whole, '0.1', 'random', seed, **options, fold=1)
  assert index_of(again.validation).tolist() == held[1].tolist()


@pytest.mark.parametrize('folds', [2, 3, 5, 7])
def test_folds_are_as_large_as_those_of_scikit_learn(folds: int) -> None:
  labels, groups = drawn(folds)
  order = np.random.default_rng(1).permutation(150)

  def sizes(found: np.ndarray) -> list[int]:
    return sorted(np.bincount(found, minlength=folds).tolist())

  def of_sklearn(splitter, *arguments) -> list[np.ndarray]:
    return [test for _, test in splitter.split(np.zeros(150), *arguments)]

  plain = holding_out.folds(order, labels, folds, None, False)
  expected = of_sklearn(model_selection.KFold(folds))
  assert sizes(plain) == sorted(map(len, expected))

  stratified = holding_out.folds(order, labels, folds, None, True)
  expected = of_sklearn(model_selection.StratifiedKFold(folds), labels)
  assert sizes(stratified) == sorted(map(len, expected))
  for label in range(4):  # and in each class
    assert sizes(stratified[labels == label]) == sorted(
      (labels[test] == label).sum() for test in expected
    )

  grouped = holding_out.folds(order, labels, folds, groups, False)
  expected = of_sklearn(model_selection.GroupKFold(folds), labels, groups)
  assert sizes(grouped) == sorted(map(len, expected))


@pytest.mark.parametrize('folds', [2, 3, 5])
@pytest.mark.parametrize('seed', [0, 1, 2, 3])
@pytest.mark.filterwarnings('ignore:The least populated class')
def test_stratified_folds_of_groups_are_as_alike_as_those_of_scikit_learn(
  folds: int, seed: int
) -> None:
  """The same ones, but where several folds are as good to the last bit or not quite."""
  labels, groups = drawn(seed)
  # It takes groups of equal spread in the order of their numbers, here that of their first images.
  _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
  groups = np.argsort(np.argsort(first))[inverse]
  found = holding_out.folds(np.arange(150), labels, folds, groups, True)
  expected = np.empty(150, int)
  splitter = model_selection.StratifiedGroupKFold(folds)
  for fold, (_, test) in enumerate(splitter.split(np.zeros(150), labels, groups)):
    expected[test] = fold

  def spread(folds_of: np.ndarray) -> float:
    table = np.zeros((folds, 4))
    np.add.at(table, (folds_of, labels), 1)
    return float((table / np.bincount(labels)).std(axis=0).mean())

  assert spread(found) <= 1.01 * spread(expected)
  if folds == 2 or (folds, seed) in ((3, 0), (3, 1), (3, 3)):
    assert found.tolist() == expected.tolist()


def test_the_first_fold_is_what_a_count_holds_out() -> None:
  whole = dataset(drawn(0)[0])
  for validation_from in ('random', 'last'):
    fold = split(whole, 'test', validation_from, 3, folds=5, fold=0)
    assert (
      index_of(fold.validation).tolist()
      == index_of(split(whole, '30', validation_from, 3).validation).tolist()
    )
    assert not fold.validation_is_test


def test_a_fold_takes_the_place_of_validation_images_of_the_source() -> None:
  whole = dataset(drawn(0)[0])
  own = dataclasses.replace(whole, validation=whole.train.take(slice(7)))
  assert len(split(own, '0.1', 'random', 3).validation) == 7
  splits = split(own, '0.1', 'random', 3, folds=5)
  assert len(splits.validation) == 30
  assert [note for note in splits.notes if 'the 7 validation images of the source are not' in note]


def test_without_them_the_parts_are_those_of_earlier_versions() -> None:
  """A permutation by the seed, whose first are held out: written down here by itself."""
  labels, _ = drawn(0)
  splits = split(dataset(labels), '40', 'random', 5)
  assert index_of(splits.validation).tolist() == sorted(
    np.random.default_rng(5).permutation(150)[:40].tolist()
  )


def test_equal_images_and_groups_stay_together() -> None:
  """Images 0 and 1 are equal, 1 and 2 of one group; so all three stay together."""
  found = holding_out.joined([np.array(list('aabcd')), np.array([1, 2, 2, 3, 4])])
  assert found[0] == found[1] == found[2]
  assert len(set(found.tolist())) == 3


@pytest.mark.parametrize('folds', [0, 3])
def test_images_of_several_labels_are_held_out_by_group(folds: int) -> None:
  labels, groups = drawn(0)
  several = (labels[:, None] >= np.arange(4)).astype(np.uint8)
  parts = [
    split(dataset(own, groups), '0.3', 'random', 5, grouped=True, folds=folds)
    for own in (labels, several)
  ]
  assert index_of(parts[0].validation).tolist() == index_of(parts[1].validation).tolist()


def test_groups_on_both_sides_are_told() -> None:
  labels, groups = drawn(0)
  whole = dataset(labels, groups)
  for tests in (whole.test, whole.test.take(slice(0))):
    (note,) = split(dataclasses.replace(whole, test=tests), '0.3', 'random', 0).notes
    assert 'groups are in train and in validation; --config.data.keep_groups_together=True' in note
  tests = dataclasses.replace(whole.test, groups=np.array([groups[0], 10**6]))
  whole = dataclasses.replace(whole, test=tests)
  notes = split(whole, '0.3', 'random', 0, grouped=True).notes
  assert [note for note in notes if note.startswith('images of 1 groups are in')]


@pytest.mark.parametrize(
  ('options', 'complaint'),
  [
    ({'folds': 151}, r'folds=151 and fold=0: there are 150 images to divide'),
    ({'folds': 31, 'grouped': True}, 'groups to divide'),
    ({'folds': 3, 'fold': 3}, 'a number from 0 to 2'),
    ({'fold': 3}, r'--config\.data\.fold=3 needs --config\.data\.folds'),
  ],
)
def test_folds_that_there_are_not(options: dict[str, int], complaint: str) -> None:
  with pytest.raises(UserError, match=complaint):
    split(dataset(*drawn(0)), '0.1', 'random', 0, **options)


def test_a_source_without_groups_and_a_group_that_is_too_large() -> None:
  labels, _ = drawn(0)
  with pytest.raises(UserError, match=r'mine\.npz does not say of which group an image is'):
    split(dataset(labels), '0.1', 'random', 0, grouped=True)
  with pytest.raises(UserError, match='finds no group of images of one group as small as the 15'):
    split(dataset(labels, np.arange(150) // 50), '0.1', 'random', 0, grouped=True)


@pytest.mark.parametrize('stratified', [False, True])
def test_one_group_is_kept_however_much_is_asked_for(stratified: bool) -> None:
  """Of two halves, both of which together are nearer to nine tenths than one."""
  labels = np.arange(150, dtype=np.int32) % 2
  options = {'grouped': True, 'stratified': stratified}
  splits = split(dataset(labels, np.arange(150) // 75), '0.9', 'random', 0, **options)
  assert (len(splits.train), len(splits.validation)) == (75, 75)
  with pytest.raises(UserError, match='finds no group of images of one group as small as the 135'):
    split(dataset(labels, np.zeros(150, int)), '0.9', 'random', 0, **options)
  with pytest.raises(UserError, match=r'folds=2 and fold=0: there is one group, which stays whole'):
    split(dataset(labels, np.zeros(150, int)), '0.9', 'random', 0, **options, folds=2)


def test_a_class_with_all_its_images_in_one_fold_is_told() -> None:
  labels = np.int32([0, 1, 1, 2, 2, 3, 3])
  found = [split(dataset(labels), '1', 'last', 0, folds=7, fold=fold) for fold in range(7)]
  (lost,) = [splits for splits in found if splits.lost_classes]
  with pytest.raises(UserError, match=r'--config\.data\.folds=7 holds out all .* of a; '):
    data.check_classes_left(lost)


def test_a_config_says_it_all(tmp_path: pathlib.Path) -> None:
  """The groups of an .npz, in the only way in which two folds of three groups can be."""
  config = base.get_config()
  config.data.name, config.data.dir = (
    'mine',
    str(write(tmp_path / 'a.npz', groups=[1, 1, 1, 2, 2, 3])),
  )
  config.data.keep_groups_together, config.data.folds = True, 2
  held = []
  for config.data.fold in range(2):
    splits = data.load_splits(config)
    assert len(splits.train) == len(splits.validation) == 3
    held.append(splits.validation.groups.tolist())  # type: ignore[union-attr]
  assert sorted(held) == [[1, 1, 1], [2, 2, 3]]
  assert data.fingerprint(splits)
