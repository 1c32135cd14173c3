"""Train, validation and test: three things, of which the last is never trained on."""

import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import holding_out
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.data.sources import load
from cifar_jax.data.statistics import class_counts, digests_of, shared_images
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

_SAMPLE = 64  # training images by which the data are known again


@dataclasses.dataclass(frozen=True)
class Splits:
  """What training uses.

  Attributes:
    train: The images that are learned from.
    validation: Images held out of the training images, the source's own, or the test images
      themselves.
    test: The test images of the source, untouched; where it has none, the validation images.
    class_names: One name per label.
    name: The name of the data set.
    source: Where it came from, for people.
    synthetic: Whether the images were drawn by a program.
    validation_is_test: Whether `validation` is `test`.
    notes: Sentences on what was found in the source, for people.
    has_test: Whether the source has test images.
    preprocessing: How an image file becomes one of these images; None where nobody said it.
    held_out: Whether `validation` was taken out of the training images of the source.
    held_out_by: The option of `config.data` that asked for that, as in 'validation=0.1'.
    lost_classes: The classes of which all training images were.
    names_shared: Whether `notes` name the images that are in two splits of the source.
    remarks: What else must stand beside every number measured on these images.
    left_out: The validation images that `limit_validation_batches` took out; None where it took
      none.
  """

  train: Split
  validation: Split
  test: Split
  class_names: tuple[str, ...]
  name: str
  source: str
  synthetic: bool
  validation_is_test: bool
  notes: tuple[str, ...] = ()
  has_test: bool = True
  preprocessing: Preprocessing | None = None
  held_out: bool = False
  held_out_by: str = ''
  lost_classes: tuple[str, ...] = ()
  names_shared: bool = False
  remarks: tuple[str, ...] = ()
  left_out: Split | None = None

  @property
  def num_classes(self) -> int:
    """Number of classes, those without an image included."""
    return len(self.class_names)

  @property
  def image_bytes(self) -> int:
    """Bytes that the images of all splits take, those that are in two splits once."""
    parts = [self.train, self.validation, *([] if self.validation_is_test else [self.test])]
    return sum(math.prod(part.images.shape) for part in parts)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of every image."""
    height, width, channels = self.train.images.shape[1:]
    return height, width, channels

  @functools.cached_property
  def facts(self) -> dict[str, int]:
    """What a checkpoint remembers of the data, to know them again: checksums of the training labels
    with the first image, and of images all over the set, which shift when one comes or goes.
    """
    first = zlib.crc32(self.train.images[:1].tobytes(), zlib.crc32(self.train.labels.tobytes()))
    count = len(self.train)
    indices = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))
    sample = np.ascontiguousarray(self.train.images[indices])
    return {'data': first, 'data_sample': zlib.crc32(sample.data)}

  def are_those_of(self, facts: Mapping[str, Any]) -> bool:
    """Whether these are the data that a checkpoint's facts remember, as far as they do: those of
    older versions lack some.
    """
    return all(facts.get(name, value) == value for name, value in self.facts.items())

  @property
  def validation_examples(self) -> int:
    """Number of validation images in the data, those that are left out included."""
    return len(self.validation) + len(self.left_out or ())

  @property
  def validation_label(self) -> str:
    """What to call the validation split wherever a number measured on it is shown."""
    if not self.has_test:
      return 'validation used as test'
    return 'test used as validation' if self.validation_is_test else 'validation'


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
    seed: What decides the permutation, alone.
    together: Whether training images with equal pixels go to the same side; a few fewer may then be
      held out than asked for.
    grouped: Whether the training images of a group of the source go to the same side, likewise.
    stratified: Whether of each class its share is held out, see `holding_out`.
    folds: Into how many parts the training images are divided, of which one is held out in place of
      what `validation` says; 0: none. Validation images of the source are not used then.
    fold: The number of that part, from 0.

  Raises:
    UserError: one of the settings makes no sense for this data set.
  """
  if validation_from not in ('random', 'last'):
    raise UserError(
      f"--config.data.validation_from={validation_from} is unknown; use 'random' or 'last'."
    )
  if fold and not folds:
    raise UserError(f'--config.data.fold={fold} needs --config.data.folds, the number of folds')
  single = dataset.train.labels.ndim == 1
  if stratified and not single:
    raise UserError(
      f'--config.data.stratified holds a share of each class out, and the images of '
      f'{dataset.source} may be of several; use False'
    )
  train, checked, notes = dataset.train, dataset.test, list(dataset.notes)
  has_test, held_out = len(dataset.test) > 0, False
  lost = np.zeros(0, np.int64)
  if folds and dataset.validation is not None:
    notes.append(
      f'--config.data.folds={folds}: the {len(dataset.validation)} validation images of the source '
      'are not used, since a fold of the training images takes their place'
    )
  if not folds and dataset.validation is not None and not (validation == 'test' and has_test):
    checked = dataset.validation
  elif not folds and validation == 'test' and not has_test:
    raise UserError(
      f'--config.data.validation=test: {dataset.source} has no test images; hold some of its '
      'training images out, as with 0.2'
    )
  elif folds or validation != 'test':
    held_out = True
    order = _order(len(dataset.train), validation_from, seed)
    groups = _groups(dataset, together, grouped)
    if folds:
      chosen = _fold(dataset, order, groups, stratified, folds, fold)
    else:
      count = _count(validation, len(dataset.train))
      chosen = holding_out.choose(order, dataset.train.labels, count, groups, stratified)
      _check_groups_fit(chosen, count, together, grouped)
    kept = np.ones(len(order), bool)
    kept[chosen] = False
    train = _take(dataset.train, np.flatnonzero(kept))
    checked = _take(dataset.train, np.sort(chosen))
    there, left = (class_counts(part, len(dataset.class_names)) > 0 for part in (checked, train))
    lost = np.flatnonzero(there & ~left)
    notes += _how_held_out(checked, train, stratified, grouped, folds, fold)
    ranked = validation_from == 'last' and single and not stratified
    if ranked and (np.diff(dataset.train.labels) >= 0).all():
      notes.append(
        f'the images are sorted by class, so the last {len(checked)}, for validation, are of '
        f'{len(np.unique(checked.labels))} of {len(dataset.class_names)} classes; '
        "--config.data.validation_from='random' takes some of each"
      )
  for asked, option in (
    (together, 'keep_duplicates_together'),
    (grouped, 'keep_groups_together'),
    (stratified, 'stratified'),
  ):
    if asked and not held_out:
      notes.append(f'--config.data.{option} changes nothing: no training image is held out')
  notes += _groups_on_two_sides(
    {
      'train': train,
      'validation': None if checked is dataset.test else checked,
      'test': dataset.test,
    },
    held_out and not grouped,
  )
  return Splits(
    train=train,
    validation=checked,
    test=dataset.test if has_test else checked,
    class_names=dataset.class_names,
    name=dataset.name,
    source=dataset.source,
    synthetic=dataset.synthetic,
    validation_is_test=not has_test or (validation == 'test' and not folds),
    notes=tuple(notes),
    has_test=has_test,
    preprocessing=dataset.preprocessing,
    held_out=held_out,
    held_out_by=f'folds={folds}' if folds else f'validation={validation}',
    lost_classes=tuple(dataset.class_names[label] for label in lost),
    names_shared=dataset.names_shared,
  )


def _how_held_out(
  held: Split, kept: Split, stratified: bool, grouped: bool, folds: int, fold: int
) -> list[str]:
  """A sentence on what was asked for beside a number of images; none where nothing was."""
  what = []
  if grouped:
    count = len(np.unique(held.groups))  # type: ignore[arg-type]
    what.append(f'{count} of {count + len(np.unique(kept.groups))} groups')  # type: ignore[arg-type]
  if folds:
    what.append(f'fold {fold} of 0 to {folds - 1}')
  if stratified:
    classes = np.union1d(held.labels, kept.labels)
    counts = np.bincount(held.labels, minlength=classes[-1] + 1)[classes]
    few, many = counts.min(), counts.max()
    what.append(
      f'{few} images of each class' if few == many else f'{few} to {many} images of a class'
    )
  return [f'held out: {", ".join(what)}'] if what else []


def _order(total: int, validation_from: str, seed: int) -> np.ndarray:
  """The training images in the order in which they are held out."""
  if validation_from == 'last':
    return np.arange(total)[::-1]
  if seed < 0:
    raise UserError(f'--config.seed={seed} is negative; use 0 or more.')
  return np.random.default_rng(seed).permutation(total)


def _fold(
  dataset: Dataset,
  order: np.ndarray,
  groups: np.ndarray | None,
  stratified: bool,
  folds: int,
  fold: int,
) -> np.ndarray:
  """Indices of the training images in a fold."""
  units = len(order) if groups is None else len(np.unique(groups))
  if folds > units or not 0 <= fold < folds:
    raise UserError(
      f'--config.data.folds={folds} and fold={fold}: there are {units} '
      f'{"images" if groups is None else "groups"} to divide; use 2 folds to {units}, and a number '
      f'from 0 to {folds - 1} for the one that is held out'
    )
  found = holding_out.folds(order, dataset.train.labels, folds, groups, stratified)
  if np.bincount(found, minlength=folds).min() == 0:
    raise UserError(
      f'--config.data.folds={folds} leaves a fold without an image, as the groups are; use fewer'
    )
  return np.flatnonzero(found == fold)


def _take(part: Split, indices: np.ndarray) -> Split:
  """The images at ascending indices, without a copy where they follow one another."""
  first, last = int(indices[0]), int(indices[-1])
  return part.take(slice(first, last + 1) if last - first + 1 == len(indices) else indices)


def _groups(dataset: Dataset, together: bool, grouped: bool) -> np.ndarray | None:
  """The numbers of the groups of training images that stay on one side [N]; None if each may go
  its own way.
  """
  train, groupings = dataset.train, []
  if together:
    if not isinstance(train.images, np.ndarray):
      raise UserError(
        '--config.data.keep_duplicates_together compares the pixels of all images; set '
        '--config.data.folder.cache=True as well'
      )
    groupings.append(np.array([digest.hex() for digest in digests_of(train)]))
  if grouped:
    if train.groups is None:
      raise UserError(
        f'--config.data.keep_groups_together: {dataset.source} does not say of which group an '
        'image is; an .npz does by groups=, image files by --config.data.folder.group_pattern'
      )
    groupings.append(train.groups)
  return holding_out.joined(groupings) if groupings else None


def _check_groups_fit(chosen: np.ndarray, count: int, together: bool, grouped: bool) -> None:
  if not len(chosen):
    option = 'keep_groups_together' if grouped else 'keep_duplicates_together'
    what = 'images of one group' if grouped else 'equal images'
    raise UserError(
      f'--config.data.{option} finds no group of {what} as small as the {count} to be held out; '
      'raise --config.data.validation'
    )


def _groups_on_two_sides(parts: Mapping[str, Split | None], could_be_kept: bool) -> list[str]:
  """Sentences on groups that are in two of the splits, where the source says the groups."""
  notes = []
  there = {name: part for name, part in parts.items() if part is not None and len(part)}
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


def with_shared_images_noted(splits: Splits) -> Splits:
  """Adds notes on images that are in two of the splits, which make accuracies look better; not on
  those that the source names itself.
  """
  parts = {'train': splits.train, 'validation': splits.validation, 'test': splits.test}
  if splits.validation_is_test:
    parts.pop('validation' if splits.has_test else 'test')
  if splits.names_shared:  # what was held out of its training images is all that it does not know
    parts.pop('test', None)
    if not splits.held_out:
      parts.clear()
  shared = shared_images(parts)
  notes = [
    f'{count} of the {len(parts[later])} {later} images have the same pixels as one of {name}'
    for (name, later), count in shared.items()
  ]
  if splits.held_out and ('train', 'validation') in shared:
    notes.append('--config.data.keep_duplicates_together=True holds equal images out together')
  if not isinstance(splits.train.images, np.ndarray):
    notes.append('streamed images are not looked through for equal ones')
  return dataclasses.replace(splits, notes=(*splits.notes, *notes))


def check_classes_left(splits: Splits) -> None:
  """Raises UserError where a run that starts would learn nothing of a class, all of whose training
  images are held out; one that is there may still be measured.
  """
  if splits.lost_classes:
    raise UserError(
      f'--config.data.{splits.held_out_by} holds out all training images of '
      f'{listed(splits.lost_classes, 10)}; hold fewer out, use '
      "--config.data.validation_from='random' or another --config.seed, or give it more images"
    )


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


def limit_validation_batches(splits: Splits, config: ConfigDict) -> Splits:
  """Keeps the validation images that a run is measured on: all, or their first whole batches.

  Args:
    splits: The splits with all of their validation images.
    config: The config of the run; `evaluate.drop_remainder` and `batch_size` are read.

  Raises:
    UserError: there is no whole batch.
  """
  if not config.evaluate.drop_remainder:
    return splits
  count = len(splits.validation) // config.batch_size * config.batch_size
  if not count:
    raise UserError(
      f'--config.evaluate.drop_remainder=True leaves none of the {len(splits.validation)} '
      f'validation images for --config.batch_size={config.batch_size}; use a smaller batch or False'
    )
  return dataclasses.replace(
    splits,
    validation=splits.validation.take(slice(count)),
    left_out=splits.validation.take(slice(count, None)),
  )
