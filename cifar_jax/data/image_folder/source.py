"""Image files as a data set, with what its user should know about it: those of a folder, or those
that a table names.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.image_folder import decoded
from cifar_jax.data.image_folder.csv_listing import list_csv
from cifar_jax.data.image_folder.decoded import DecodedFolder
from cifar_jax.data.image_folder.listing import ImageFile, Listing, list_folder, to_convert
from cifar_jax.data.image_folder.stream import file_split
from cifar_jax.data.preprocessing import Preprocessing, of_folder
from cifar_jax.data.statistics import class_counts
from cifar_jax.startup import processor
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import existing_path
from cifar_jax.utils.suggestions import listed

_NAMED = 5  # files named in a message; the rest are counted
_IMBALANCE = 1.5  # largest class over smallest, from which on it is worth a word


def load(data_config: ConfigDict) -> Dataset:
  """Reads the folder or, for the name 'csv', the table `data_config.dir` as `data_config.folder`
  says.

  Returns:
    The data set; its images are mapped from a file of decoded pixels. `Dataset.notes` tells what
    was found: numbers of images, files left out, imbalance, duplicates across splits.

  Raises:
    UserError: no such folder or table, no images in it, damaged files where they are not to be
      skipped, no room for the decoded images.
  """
  options = data_config.folder
  csv = data_config.name == 'csv'
  what = 'the CSV file of files and labels' if csv else 'the folder of the images'
  if not data_config.dir:
    raise UserError(f'--config.data.name={data_config.name} needs --config.data.dir, {what}')
  root = existing_path('data.dir', data_config.dir, f'set --config.data.dir to {what}')
  listing = list_files(root, data_config)
  preprocessing = of_folder(data_config)
  if not options.cache:
    return _streamed(data_config, listing, preprocessing)
  if not decoded.fits_on_disk(len(listing.files), preprocessing):
    height, width, _ = preprocessing.shape
    raise UserError(
      f'{len(listing.files)} decoded images of {height} x {width} pixels do not fit on '
      'half of the free disk; make room, set $CIFAR_JAX_CACHE to a folder on another disk, or '
      'decode them in each epoch: --config.data.folder.cache=False --config.data.placement=host'
    )
  folder = decoded.load(listing, preprocessing, options.workers or len(processor.cores()))
  if folder.damaged and options.damaged == 'error':
    raise UserError(
      f'{len(folder.damaged)} of {len(listing.files)} images in {root} cannot be used: '
      f'{_damaged(folder)}; remove them, or leave them out with --config.data.folder.damaged=skip'
    )
  parts, notes = _splits(listing, folder, options.group_pattern)
  return _dataset(listing, parts, notes, preprocessing, names_shared=True)


def list_files(root: pathlib.Path, data_config: ConfigDict) -> Listing:
  """Lists the image files of a folder or, for the name 'csv', of a table; raises UserError as
  `list_folder` and `list_csv` do.
  """
  if data_config.name == 'csv':
    return list_csv(root, data_config.get('multi_label', False))
  return list_folder(root)


def _streamed(data_config: ConfigDict, listing: Listing, preprocessing: Preprocessing) -> Dataset:
  """The data set whose images stay in their files."""
  if data_config.placement != 'host':
    raise UserError(
      '--config.data.folder.cache=False streams images through the host; set '
      '--config.data.placement=host as well'
    )
  if data_config.folder.damaged == 'skip':
    raise UserError(
      "--config.data.folder.damaged='skip' needs to know all damaged files beforehand, which a "
      'stream does not; use --config.data.folder.cache=True'
    )
  options = data_config.folder
  parts = {
    split: dataclasses.replace(
      file_split(files, listing, preprocessing, options.workers),
      groups=_groups_of(files, listing, options.group_pattern),
    )
    for split, files in listing.splits.items()
  }
  parts.setdefault('test', file_split((), listing, preprocessing, 1))
  notes = [_found(split, len(parts[split]), listing) for split in listing.splits]
  notes += [*listing.notes, *_not_used(listing), *_imbalance(listing, parts['train'])]
  return _dataset(listing, parts, notes, preprocessing)


def _dataset(
  listing: Listing,
  parts: Mapping[str, Split],
  notes: Sequence[str],
  preprocessing: Preprocessing,
  names_shared: bool = False,
) -> Dataset:
  """The data set of the splits 'train', 'test' and perhaps 'validation'."""
  _check_classes(listing, parts['train'])
  return Dataset(
    name='folder' if listing.table is None else 'csv',
    train=parts['train'],
    test=parts['test'],
    validation=parts.get('validation'),
    class_names=listing.class_names,
    source=str(listing.table or listing.root),
    notes=tuple(notes),
    preprocessing=preprocessing,
    names_shared=names_shared,
  )


def _groups_of(files: Sequence[ImageFile], listing: Listing, pattern: str) -> np.ndarray | None:
  """What a regular expression finds in the name of each file, text [N]; without one what a table
  says, or None.

  Raises:
    UserError: it finds nothing in a name.
  """
  if not pattern:
    return listing.groups_of(files)
  found = []
  for file in files:
    match = re.search(pattern, file.path.name)
    # The first of its own groups, where it has some.
    group = match and (match[1] if match.re.groups else match[0])
    if not group:
      raise UserError(
        f'--config.data.folder.group_pattern={pattern} finds no group in the name of {file.path}; '
        'give one that matches all names'
      )
    found.append(group)
  return np.array(found, str)


def _splits(
  listing: Listing, folder: DecodedFolder, group_pattern: str
) -> tuple[dict[str, Split], list[str]]:
  """The images of each split, and what is worth saying about them."""
  kept_files = [listing.files[index] for index in folder.kept]
  every = Split(
    folder.images,
    listing.labels_of(kept_files),
    digests=folder.digests,
    groups=_groups_of(kept_files, listing, group_pattern),
  )
  parts, notes, slices = {}, [], {}
  start = 0
  for split, files in listing.splits.items():
    kept = (folder.kept >= start) & (folder.kept < start + len(files))
    rows = np.flatnonzero(kept)
    slices[split] = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
    parts[split] = every.take(slices[split])
    notes.append(_found(split, len(rows), listing))
    start += len(files)
  notes += [*listing.notes, *_not_used(listing)]
  if folder.damaged:
    images = 'images' if len(folder.damaged) > 1 else 'image'
    notes.append(f'{len(folder.damaged)} damaged {images}, left out: {_damaged(folder)}')
  notes += _imbalance(listing, parts['train'])
  notes += _duplicates(listing, folder, slices)
  parts.setdefault('test', parts['train'].take(slice(0)))
  return parts, notes


def _found(split: str, count: int, listing: Listing) -> str:
  kinds = 'with any of {} labels' if listing.multi_label else 'belonging to {} classes'
  where = f' in {listing.renamed[split].as_posix()}' if split in listing.renamed else ''
  return f'{split}: Found {count} images {kinds.format(len(listing.class_names))}{where}'


def _not_used(listing: Listing) -> list[str]:
  """Sentences on folders and files that are left aside by their names."""
  notes = []
  if listing.passed_over:
    names = listed(listing.passed_over, _NAMED)
    notes.append(f'not used, since they are no splits with class folders: {names}')
  if ignored := listing.ignored:
    notes.append(
      f'not used, since their suffix is none of an image that can be read: '
      f'{listed([str(path) for path in ignored], _NAMED)}{to_convert(ignored)}'
    )
  return notes


def _check_classes(listing: Listing, train: Split) -> None:
  counts = class_counts(train, len(listing.class_names))
  empty = [name for name, count in zip(listing.class_names, counts, strict=True) if not count]
  if empty:
    remedy = 'remove the empty class folders' if listing.table is None else 'take them out of it'
    raise UserError(
      f'{listing.table or listing.root} has no usable training image of {", ".join(empty)}; add '
      f'some, or {remedy}'
    )


def _imbalance(listing: Listing, train: Split) -> list[str]:
  counts = class_counts(train, len(listing.class_names))
  if counts.max() < _IMBALANCE * counts.min():
    return []
  most, least = int(counts.argmax()), int(counts.argmin())
  return [
    f'classes are not balanced: {listing.class_names[most]} has {counts[most]} training images, '
    f'{listing.class_names[least]} has {counts[least]}'
  ]


def _duplicates(listing: Listing, folder: DecodedFolder, slices: dict[str, slice]) -> list[str]:
  """Sentences on images that occur in two splits."""
  files = listing.files
  notes = []
  splits = list(slices)
  for position, second in enumerate(splits):
    for first in splits[:position]:
      a, b = slices[first], slices[second]
      exact, near = folder.pairs(a, b)
      for kind, pairs in (('also', exact), ('almost the same also', near)):
        if pairs:
          named = [
            f'{files[folder.kept[b][j]].path} = {files[folder.kept[a][i]].path}' for i, j in pairs
          ]
          notes.append(
            f'{len(pairs)} images of {second} are {kind} in {first}: {listed(named, _NAMED)}'
          )
  return notes


def _damaged(folder: DecodedFolder) -> str:
  everywhere = f', all in {folder.damaged_list}' if len(folder.damaged) > _NAMED else ''
  return listed([f'{path} ({reason})' for path, reason in folder.damaged], _NAMED) + everywhere
