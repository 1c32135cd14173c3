"""How the images of a source become train, validation and test, as a config says."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import holding_out
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.sources import load
from cifar_jax.data.splits import Splits, limit_validation_batches
from cifar_jax.data.statistics import class_counts, digests_of
from cifar_jax.utils.errors import UserError


def load_splits(config: ConfigDict) -> Splits:
  """The data that a config names, split as it says: what training sees and what measures it.

  Args:
    config: The config of a run; `data`, `seed`, `batch_size` and `evaluate.drop_remainder` are
      read.

  Raises:
    UserError: there are no such data, or the config asks for a split that they cannot give.
  """
  options = config.data
  splits = split(
    load(options),
    options.validation,
    options.validation_from,
    config.seed,
    options.keep_duplicates_together,
    grouped=options.keep_groups_together,
    stratified=options.stratified,
    folds=options.folds,
    fold=options.fold,
  )
  return limit_validation_batches(splits, config)


def split(
  dataset: Dataset,
  validation: str,
  validation_from: str,
  seed: int,
  together: bool = False,
  *,
  grouped: bool = False,
  stratified: bool = False,
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Holds a validation set out of the training images, unless the source has one of its own.

  A source without test images is one whose validation images are its test.

  Args:
    dataset: The data set that the images come from.
    validation: 'test' (the test images serve twice, as in articles that validated on them), a count
      such as '5000', or a fraction of the training images such as '0.1'.
    validation_from: 'random' (a permutation drawn from `seed`) or 'last' (the last images of the
      arrays, which is what `validation_split` means in Keras). Either way both parts keep the
      order of the source.
    seed: The seed of the permutation.
    together: Whether training images with equal pixels go to the same side; a few fewer may then be
      held out than asked for.
    grouped: Whether the training images of a group of the source go to the same side, likewise.
    stratified: Whether the same share of each class is held out, see `holding_out`.
    folds: Into how many parts the training images are divided, of which one is held out in place of
      what `validation` says; 0: none. Validation images of the source are not used then.
    fold: The number of that part, from 0.

  Raises:
    UserError: one of the settings makes no sense for this data set.
  """
  asked = _Asked(validation, validation_from, seed, together, grouped, stratified, folds, fold)
  _check(asked, dataset)
  has_test = len(dataset.test) > 0
  held_out = folds > 0 or (validation != 'test' and dataset.validation is None)
  train, lost = dataset.train, np.zeros(0, np.int64)
  if held_out:
    train, checked = _hold_out(asked, dataset)
    there, left = (class_counts(part, len(dataset.class_names)) > 0 for part in (checked, train))
    lost = np.flatnonzero(there & ~left)
  elif validation == 'test' and has_test:
    checked = dataset.test
  elif dataset.validation is not None:
    checked = dataset.validation
  else:
    raise UserError(
      f'--config.data.validation=test: {dataset.source} has no test images; hold some of its '
      'training images out, as with 0.2'
    )
  notes = _notes_held_out(asked, dataset, train, checked) if held_out else _notes_idle(asked)
  parts = {
    'train': train,
    **({} if checked is dataset.test else {'validation': checked}),
    'test': dataset.test,
  }
  notes += _groups_on_two_sides(parts, held_out and not grouped)
  return Splits(
    train=train,
    validation=checked,
    test=dataset.test if has_test else checked,
    class_names=dataset.class_names,
    name=dataset.name,
    source=dataset.source,
    synthetic=dataset.synthetic,
    validation_is_test=not has_test or checked is dataset.test,
    notes=(*dataset.notes, *notes),
    has_test=has_test,
    preprocessing=dataset.preprocessing,
    held_out=held_out,
    held_out_by=f'folds={folds}' if folds else f'validation={validation}',
    lost_classes=tuple(dataset.class_names[label] for label in lost),
    names_shared=dataset.names_shared,
  )


@dataclasses.dataclass(frozen=True)
class _Asked:
  """The arguments of `split` beside the data set."""

  validation: str
  validation_from: str
  seed: int
  together: bool
  grouped: bool
  stratified: bool
  folds: int
  fold: int


def _check(asked: _Asked, dataset: Dataset) -> None:
  """Raises UserError where something is asked for that has no meaning."""
  if asked.validation_from not in ('random', 'last'):
    raise UserError(
      f"--config.data.validation_from={asked.validation_from} is unknown; use 'random' or 'last'."
    )
  if asked.fold and not asked.folds:
    raise UserError(
      f'--config.data.fold={asked.fold} needs --config.data.folds, the number of folds'
    )
  if asked.stratified and dataset.train.labels.ndim > 1:
    raise UserError(
      f'--config.data.stratified holds a share of each class out, and the images of '
      f'{dataset.source} may be of several; use False'
    )


def _hold_out(asked: _Asked, dataset: Dataset) -> tuple[Split, Split]:
  """The training images that are kept, and those that are held out, both in their order."""
  total = len(dataset.train)
  order = _order(total, asked.validation_from, asked.seed)
  groups = _groups(asked, dataset)
  if asked.folds:
    chosen = _fold(asked, dataset, order, groups)
  else:
    count = _count(asked.validation, total)
    chosen = holding_out.choose(order, dataset.train.labels, count, groups, asked.stratified)
    _check_groups_fit(chosen, count, asked.grouped)
  kept = np.ones(total, bool)
  kept[chosen] = False
  return _take(dataset.train, np.flatnonzero(kept)), _take(dataset.train, np.sort(chosen))


def _notes_held_out(asked: _Asked, dataset: Dataset, kept: Split, held: Split) -> list[str]:
  """Sentences on the images that are held out."""
  notes = []
  if asked.folds and dataset.validation is not None:
    notes.append(
      f'--config.data.folds={asked.folds}: the {len(dataset.validation)} validation images of the '
      'source are not used, since a fold of the training images takes their place'
    )
  what = []
  if asked.grouped:
    count = len(np.unique(held.groups))  # type: ignore[arg-type]
    what.append(f'{count} of {count + len(np.unique(kept.groups))} groups')  # type: ignore[arg-type]
  if asked.folds:
    what.append(f'fold {asked.fold} of 0 to {asked.folds - 1}')
  if asked.stratified:
    classes = np.union1d(held.labels, kept.labels)
    counts = np.bincount(held.labels, minlength=classes[-1] + 1)[classes]
    few, many = counts.min(), counts.max()
    what.append(
      f'{few} images of each class' if few == many else f'{few} to {many} images of a class'
    )
  if what:
    notes.append(f'held out: {", ".join(what)}')
  labels = dataset.train.labels
  ranked = asked.validation_from == 'last' and labels.ndim == 1 and not asked.stratified
  if ranked and (np.diff(labels) >= 0).all():
    notes.append(
      f'the images are sorted by class, so the last {len(held)}, for validation, are of '
      f'{len(np.unique(held.labels))} of {len(dataset.class_names)} classes; '
      "--config.data.validation_from='random' takes some of each"
    )
  return notes


def _notes_idle(asked: _Asked) -> list[str]:
  """Sentences on options of holding out where nothing is held out."""
  options = {
    'keep_duplicates_together': asked.together,
    'keep_groups_together': asked.grouped,
    'stratified': asked.stratified,
  }
  return [
    f'--config.data.{option} changes nothing: no training image is held out'
    for option, on in options.items()
    if on
  ]


def _order(total: int, validation_from: str, seed: int) -> np.ndarray:
  """The training images in the order in which they are held out."""
  if validation_from == 'last':
    return np.arange(total)[::-1]
  if seed < 0:
    raise UserError(f'--config.seed={seed} is negative; use 0 or more.')
  return np.random.default_rng(seed).permutation(total)


def _fold(
  asked: _Asked, dataset: Dataset, order: np.ndarray, groups: np.ndarray | None
) -> np.ndarray:
  """Indices of the training images in a fold."""
  folds, fold = asked.folds, asked.fold
  units = len(order) if groups is None else len(np.unique(groups))
  there = f'there are {units} {"images" if groups is None else "groups"} to divide'
  if units == 1:
    there = f'there is one {"image" if groups is None else "group"}, which stays whole'
  if folds > units:
    remedy = f'use {units} folds at most' if units > 1 else 'use 0'
    raise UserError(f'--config.data.folds={folds} and fold={fold}: {there}; {remedy}')
  if not 0 <= fold < folds:
    raise UserError(
      f'--config.data.folds={folds} and fold={fold}: use a number from 0 to {folds - 1} for the '
      'fold that is held out'
    )
  found = holding_out.folds(order, dataset.train.labels, folds, groups, asked.stratified)
  if np.bincount(found, minlength=folds).min() == 0:
    raise UserError(
      f'--config.data.folds={folds} leaves a fold without an image, as the groups are; use fewer'
    )
  return np.flatnonzero(found == fold)


def _take(part: Split, indices: np.ndarray) -> Split:
  """The images at ascending indices, without a copy where they follow one another."""
  first, last = int(indices[0]), int(indices[-1])
  return part.take(slice(first, last + 1) if last - first + 1 == len(indices) else indices)


def _groups(asked: _Asked, dataset: Dataset) -> np.ndarray | None:
  """The numbers of the groups of training images that stay on one side [N]; None if each may go
  its own way.
  """
  train, groupings = dataset.train, []
  if asked.together:
    if not isinstance(train.images, np.ndarray):
      raise UserError(
        '--config.data.keep_duplicates_together compares the pixels of all images; set '
        '--config.data.folder.cache=True as well'
      )
    groupings.append(np.array([digest.hex() for digest in digests_of(train)]))
  if asked.grouped:
    if train.groups is None:
      raise UserError(
        f'--config.data.keep_groups_together: {dataset.source} does not say of which group an '
        'image is; an .npz does by groups=, image files by --config.data.folder.group_pattern'
      )
    groupings.append(train.groups)
  return holding_out.joined(groupings) if groupings else None


def _check_groups_fit(chosen: np.ndarray, count: int, grouped: bool) -> None:
  """Raises UserError where no image is held out."""
  if not len(chosen):
    option = 'keep_groups_together' if grouped else 'keep_duplicates_together'
    what = 'images of one group' if grouped else 'equal images'
    raise UserError(
      f'--config.data.{option} finds no group of {what} as small as the {count} to be held out; '
      'raise --config.data.validation'
    )


def _groups_on_two_sides(parts: Mapping[str, Split], could_be_kept: bool) -> list[str]:
  """Sentences on groups that are in two of the splits, where the source says the groups."""
  notes = []
  there = {name: part for name, part in parts.items() if len(part)}
  for first, second in itertools.combinations(there, 2):
    groups, others = there[first].groups, there[second].groups
    if groups is None or others is None:
      continue
    if shared := len(np.intersect1d(groups, others)):
      remedy = ''
      if could_be_kept and (first, second) == ('train', 'validation'):
        remedy = '; --config.data.keep_groups_together=True holds whole groups out'
      notes.append(f'images of {shared} groups are in {first} and in {second}{remedy}')
  return notes


def _count(validation: str, total: int) -> int:
  """Number of images that `validation`, a count or a fraction of `total`, asks for."""
  wanted = f'--config.data.validation={validation}'
  usage = "use 'test', a count such as 5000 or a fraction such as 0.1"
  try:
    # A whole number is a count even where float() would read it as well.
    count = int(validation)
  except ValueError:
    try:
      fraction = float(validation)
    except ValueError:
      raise UserError(f'{wanted} is neither a count nor a fraction; {usage}.') from None
    if not 0 < fraction < 1:
      raise UserError(f'{wanted} is not a fraction between 0 and 1; {usage}.') from None
    count = round(fraction * total)
  if not 0 < count < total:
    raise UserError(
      f'{wanted} asks for {count} of the {total} training images, which leaves none on one side; '
      f'{usage}.'
    )
  return count
