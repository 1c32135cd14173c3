"""Which of some images are held out: a number of them or one of several folds, by class, by group.

Pure functions of labels, groups and an order of the images; those that come first in it are held
out first. Where neither classes nor groups count, that is the order itself, cut.
"""

from collections.abc import Sequence

import numpy as np


def choose(
  order: np.ndarray, labels: np.ndarray, count: int, groups: np.ndarray | None, stratified: bool
) -> np.ndarray:
  """Indices of `count` images, or near it where groups stay whole.

  Args:
    order: A permutation of 0..N-1.
    labels: int32 [N], from 0; read where `stratified` asks for classes.
    count: How many are wanted, below N.
    groups: Numbers of groups, int [N], or None. By groups alone a few fewer than `count` are held
      out: the groups that still fit, as they come. One group at least is kept.
    stratified: Whether each class gets its share of `count`, see `shares`: exactly without groups;
      with them, groups are held out as they come that bring the numbers of the classes nearer to
      their shares, by the sum of squares.

  Returns:
    int64; nothing where no group is small enough.
  """
  if groups is None:
    if not stratified:
      return order[:count]
    wanted = shares(np.bincount(labels), count)
    of_class = (order[labels[order] == label][:number] for label, number in enumerate(wanted))
    return np.concatenate(list(of_class))
  numbers, table = _table(order, labels if stratified else None, groups)
  wanted = shares(table.sum(axis=0), count)
  held = np.zeros_like(wanted)
  chosen = np.zeros(len(table), bool)
  for number, classes in enumerate(table):
    if stratified:
      fits = np.square(held + classes - wanted).sum() < np.square(held - wanted).sum()
    else:
      fits = (held + classes).sum() <= count
    if fits and chosen.sum() < len(table) - 1:
      chosen[number] = True
      held += classes
  return np.flatnonzero(chosen[numbers])


def folds(
  order: np.ndarray, labels: np.ndarray, count: int, groups: np.ndarray | None, stratified: bool
) -> np.ndarray:
  """The fold of each image, from 0, int64 [N]; each image is in exactly one.

  Args:
    order: A permutation of 0..N-1. Without classes and groups, fold 0 is its first part.
    labels: int32 [N], from 0; read where `stratified` asks for classes.
    count: How many folds, at most as many as images or groups.
    groups: Numbers of groups, int [N], which stay whole, or None. Without them the sizes of the
      folds differ by one at most; with them, the largest group goes to the smallest fold, and so
      on.
    stratified: Whether the images of each class are divided so, too: without groups their numbers
      differ by one at most; with them, each group goes where the folds become most alike, as by
      scikit-learn's StratifiedGroupKFold.
  """
  found = np.empty(len(order), np.int64)
  if groups is None:
    if not stratified:
      for fold, part in enumerate(np.array_split(order, count)):
        found[part] = fold
      return found
    # In turns through the classes one after the other, so that sizes of folds are alike as well.
    found[order[np.argsort(labels[order], kind='stable')]] = np.arange(len(order)) % count
    return found
  numbers, table = _table(order, labels if stratified else None, groups)
  of_group = np.zeros(len(table), np.int64)
  held = np.zeros((count, table.shape[1]))
  if stratified:
    largest_first = np.argsort(-table.std(axis=1), kind='stable')
    of_class = np.maximum(table.sum(axis=0), 1)
    for group in largest_first:
      alike = np.repeat(held[None], count, axis=0)
      alike[np.arange(count), np.arange(count)] += table[group]
      spread = (alike / of_class).std(axis=1).mean(axis=1)
      # Of folds that are as good, the smallest.
      size = np.where(np.isclose(spread, spread.min()), held.sum(axis=1), np.inf)
      of_group[group] = size.argmin()
      held[of_group[group]] += table[group]
  else:
    for group in np.argsort(-table.sum(axis=1), kind='stable'):
      of_group[group] = held.sum(axis=1).argmin()
      held[of_group[group]] += table[group]
  return of_group[numbers]


def shares(counts: np.ndarray, wanted: int) -> np.ndarray:
  """How many of `wanted` each class gets: its part of all, by the method of largest remainders.

  Args:
    counts: The images of each class, int [classes].
    wanted: A number up to their sum.

  Returns:
    int64 [classes], whose sum is `wanted`; each is the exact share, rounded down or up. Of equal
    remainders the first class is rounded up.
  """
  # In whole numbers, so that equal remainders are equal.
  exact = counts.astype(np.int64) * wanted
  total = int(counts.sum())
  found, remainder = exact // total, exact % total
  largest = np.argsort(-remainder, kind='stable')[: wanted - int(found.sum())]
  found[largest] += 1
  return found


def joined(several: Sequence[np.ndarray]) -> np.ndarray:
  """Numbers of groups [N] in which are together the images that are in any of several groupings.

  Args:
    several: The group of each image [N], text or numbers, by each grouping, of which there is one
      at least.
  """
  from scipy import sparse  # not where nothing is joined: it takes a tenth of a second to import
  from scipy.sparse import csgraph

  numbers = [np.unique(groups, return_inverse=True)[1].reshape(-1) for groups in several]
  found = numbers[0]
  for other in numbers[1:]:
    size, count = int(found.max()) + 1, int(found.max()) + int(other.max()) + 2
    links = np.ones(len(found), bool), (found, other + size)
    _, component = csgraph.connected_components(sparse.coo_matrix(links, (count, count)), False)
    found = component[found]
  return found


def _table(
  order: np.ndarray, labels: np.ndarray | None, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The number of each image's group [N], in which they come in the order, and how many images of
  each class each group has, int64 [groups, classes]; without labels all are of one class.
  """
  if labels is None:
    labels = np.zeros(len(order), np.int64)
  _, first, inverse = np.unique(groups[order], return_index=True, return_inverse=True)
  place = np.argsort(np.argsort(first))  # of each group among those that come before it
  numbers = np.empty(len(order), np.int64)
  numbers[order] = place[inverse]
  table = np.zeros((len(first), int(labels.max()) + 1), np.int64)
  np.add.at(table, (numbers, labels), 1)
  return numbers, table
