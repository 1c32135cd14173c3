"""Which image files a table names, and what it says about them: a `Listing` as that of a folder.

The table is a CSV file with a line for each image: its file, its label or labels and, optionally,
its split and group. It names files from its own folder on, or from a folder of images beside it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from cifar_jax.data.image_folder import columns as meaning
from cifar_jax.data.image_folder import table as tables
from cifar_jax.data.image_folder.columns import Columns
from cifar_jax.data.image_folder.listing import ImageFile, Listing
from cifar_jax.data.image_folder.split_folders import SPLITS, SUFFIXES
from cifar_jax.data.image_folder.table import Table
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

# The table of a folder without one a split, in any case.
_NAMES = ('labels', 'label', 'annotations', 'metadata', 'data', 'dataset', 'index')
_BESIDE = ('images', 'image', 'imgs', 'img', 'files', 'photos', 'pictures', 'data', 'jpg', 'png')
_NAMED = 8  # files named in a message; the rest are counted
_ENOUGH = 10_000  # files that are missing, after which no more are looked for
_SHOWN = 100  # letters of the name of each
_HOW = (
  'give a CSV file of file and label, or a folder with labels.csv, or with train.csv and, beside '
  'it, validation.csv and test.csv'
)


@dataclasses.dataclass(frozen=True)
class _Row:
  """A line of a table."""

  path: pathlib.Path
  labels: tuple[str, ...]
  split: str
  group: str
  where: str  # for people


def list_csv(path: pathlib.Path, multi_label: bool = False) -> Listing:
  """Lists the images of a table, or of the tables of a folder, one a split.

  Args:
    path: A CSV file, or a folder with labels.csv, or with train.csv and perhaps validation.csv and
      test.csv.
    multi_label: Whether an image may have several labels. A table with a column of 0 and 1 for
      each label, of which not every image has exactly one, is so in any case.

  Raises:
    UserError: no table is there or it is none, columns or labels are not clear, files are missing,
      or a file has different labels in two lines.
  """
  notes, several = [], multi_label
  read = [(split, *_read(file)) for split, file in _tables(path)]
  kinds = {columns.label is None for _, _, columns in read}
  if len(kinds) > 1:
    raise UserError(
      f'{path} holds tables with a column a label and others with one column of labels; give all '
      'the same columns'
    )
  flags = kinds == {True}
  if unused := sorted({name for _, _, columns in read for name in columns.unused}):
    notes.append(f'columns that are not used: {listed(unused, _NAMED)}')
  names_of, known = [], set()
  for _, table, columns in read:
    if columns.label is None:
      assert table.header is not None
      labels = meaning.flagged(table, columns)
      several = several or any(len(names) != 1 for names in labels)
      known |= {table.header[place] for place in columns.flags}
    else:
      labels = meaning.written(table, columns.label, multi_label)
    names_of.append(labels)
  known |= {name for labels in names_of for names in labels for name in names}
  meaning.check_names(path, known)
  rows: list[_Row] = []
  for (split, table, columns), labels in zip(read, names_of, strict=True):
    rows += _rows(table, columns, labels, split)
  # A line for each label of an image, as some tables have it, where no cell holds several.
  united = multi_label and not flags and all(len(row.labels) == 1 for row in rows)
  rows, repeated = _one_a_file(rows, united)
  if repeated:
    notes.append(f'{repeated} lines name a file that another line names too')
  return _listing(path, rows, several, meaning.in_order(known) if flags else (), tuple(notes))


def _tables(path: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
  """(split, file), the split being '' where the table itself may say it."""
  if not path.is_dir():
    if path.suffix.lower() not in tables.SUFFIXES or not path.is_file():
      raise UserError(f'--config.data.dir={path} is no table; {_HOW}')
    return [('', path)]
  files = sorted(
    entry
    for entry in path.iterdir()
    if entry.suffix.lower() in tables.SUFFIXES and entry.is_file() and entry.name[0] != '.'
  )
  by_split: dict[str, list[pathlib.Path]] = {}
  for file in files:
    for split, names in SPLITS.items():
      if file.stem.lower() in names:
        by_split.setdefault(split, []).append(file)
  for split, same in by_split.items():
    if len(same) > 1:
      raise UserError(
        f'{same[0]} and {same[1].name} are both named like the {split} split; rename one of them'
      )
  if 'train' in by_split:
    return [(split, by_split[split][0]) for split in SPLITS if split in by_split]
  named = [file for file in files if file.stem.lower() in _NAMES]
  only = named or [file for file in files if file.suffix.lower() != '.txt']
  if len(only) == 1:
    return [('', only[0])]
  there = listed([file.name for file in only], _NAMED) or 'no table'
  raise UserError(f'--config.data.dir={path} holds {there}; {_HOW}')


def _read(path: pathlib.Path) -> tuple[Table, Columns]:
  def names_a_file(cells: Sequence[str]) -> bool:
    return len(cells) == 2 and bool(_Files(path).find(cells[0]))

  table = tables.read(path, meaning.is_header, names_a_file)
  return table, meaning.columns_of(table)


def _rows(
  table: Table, columns: Columns, labels: Sequence[tuple[str, ...]], split: str
) -> Iterator[_Row]:
  """The lines of a table with the files that they name."""
  if split and columns.split is not None:
    raise UserError(
      f'{table.path} is the table of {split} by its name and has a column of splits as well; take '
      'that out, or rename the file to labels.csv'
    )
  files = _Files(table.path)
  missing = []
  every = zip(table.rows, table.lines, labels, strict=True)
  what = f'looking for the images of {table.path.name}'
  with tables.bar_over(every, what, len(table.rows), 'image') as counted:
    for row, line, names in counted:
      where = f'{table.path}, line {line}'
      found = files.find(row[columns.file])
      if len(found) > 1:
        raise UserError(
          f'{where}: {row[columns.file]!r} may be {found[0]} or {found[1]}; write the folder and '
          'the suffix too'
        )
      if not found:
        missing.append(f'{row[columns.file][:_SHOWN]!r} (line {line})')
        if len(missing) == _ENOUGH:
          break
        continue
      of_row = split
      if columns.split is not None:
        of_row = meaning.split_of(row[columns.split], table, line)
      group = '' if columns.group is None else row[columns.group]
      if columns.group is not None and not group:
        raise UserError(f'{where}: it has no group; add it, or take the line out')
      yield _Row(found[0], names, of_row or 'train', group, where)
  if missing:
    looked = ', '.join(str(folder) for folder in files.folders)
    count = f'{len(missing)}{" or more" if len(missing) == _ENOUGH else ""}'
    raise UserError(
      f'{count} of the {len(table.rows)} images that {table.path} names are not there: '
      f'{listed(missing, _NAMED)}; looked in {looked}: correct the names, or take the lines out'
    )


def _one_a_file(rows: Sequence[_Row], united: bool) -> tuple[list[_Row], int]:
  """One row for each file and split, and how many lines repeated another.

  Args:
    united: Whether the labels of lines with the same file are those of one image.
  """
  first: dict[tuple[pathlib.Path, str], _Row] = {}
  of_file: dict[pathlib.Path, _Row] = {}
  repeated = 0
  for row in rows:
    key = row.path, row.split
    other = of_file.setdefault(row.path, row)
    if not united and set(other.labels) != set(row.labels):
      raise UserError(
        f'{row.where}: {row.path.name} is {_quoted(row.labels)}, but {_quoted(other.labels)} in '
        f'{other.where}; correct one of them'
      )
    if other.group != row.group:
      raise UserError(
        f'{row.where}: {row.path.name} is of the group {row.group!r}, but of {other.group!r} in '
        f'{other.where}; correct one of them'
      )
    if key not in first:
      first[key] = row
      continue
    merged = tuple(dict.fromkeys((*first[key].labels, *row.labels)))
    repeated += merged == first[key].labels
    first[key] = dataclasses.replace(first[key], labels=merged)
  return list(first.values()), repeated


def _listing(
  path: pathlib.Path,
  rows: Sequence[_Row],
  several: bool,
  columns: tuple[str, ...],
  notes: tuple[str, ...],
) -> Listing:
  """The listing of some rows; `columns` are the names of the labels where each has a column."""
  by_split = {split: [row for row in rows if row.split == split] for split in SPLITS}
  if not by_split['train']:
    raise UserError(f'{path} names no training image; add some, as train in its column of splits')
  trained = {name for row in by_split['train'] for name in row.labels}
  class_names = columns or meaning.in_order(trained)
  number: Mapping[str, int] = {name: index for index, name in enumerate(class_names)}
  unknown = sorted({name for row in rows for name in row.labels} - set(class_names))
  if unknown:
    raise UserError(
      f'{path} has the labels {listed(unknown, _NAMED)}, which no training image has; add some, or '
      'take those lines out'
    )
  if len(class_names) < 2:
    raise UserError(
      f'{path} has no two labels, but {_quoted(class_names)}, from which there is nothing to tell '
      'apart; give its images two labels or more'
    )

  def file(row: _Row) -> ImageFile:
    numbers = tuple(sorted(number[name] for name in row.labels))
    return ImageFile(row.path, numbers if several else numbers[0], row.group)

  splits = {split: tuple(map(file, found)) for split, found in by_split.items() if found}
  root = path.parent if path.is_file() else path
  return Listing(root, class_names, splits, (), multi_label=several, notes=notes, table=path)


class _Files:
  """The files beside a table.

  Attributes:
    folders: Where they are looked for.
  """

  def __init__(self, table: pathlib.Path):
    around, stem = table.parent, table.stem.lower()
    names = {*_BESIDE, *(name for names in SPLITS.values() for name in names if stem in names)}
    names |= {f'{stem}_images', f'{stem}_imgs', stem}
    inside = sorted(
      entry for entry in around.iterdir() if entry.name.lower() in names and entry.is_dir()
    )
    self.folders = (around, *inside)
    self._kept: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}

  def find(self, name: str) -> list[pathlib.Path]:
    """The files that a name may mean: with its suffix, or with any of an image where it has none;
    in other case where none is written so.
    """
    name = name.replace('\\', '/')
    if not name or name.endswith('/') or '\0' in name:
      return []
    found: dict[str, None] = {}
    for folder in self.folders:
      parent, last = os.path.split(os.path.join(folder, name))
      exact, by_stem = self._listed(os.path.normpath(parent))
      same = exact.get(last.lower(), [])
      if last in same:
        same = [last]
      if not same and os.path.splitext(last)[1].lower() not in SUFFIXES:
        same = by_stem.get(last.lower(), [])
      found |= {os.path.join(os.path.normpath(parent), entry): None for entry in same}
    return [pathlib.Path(path) for path in found]

  def _listed(self, folder: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The names in a folder by their lower case, and those of images by that without suffix."""
    if folder not in self._kept:
      names: dict[str, list[str]] = {}
      stems: dict[str, list[str]] = {}
      try:
        entries = os.listdir(folder)
      except (OSError, ValueError):
        entries = []
      for entry in entries:
        names.setdefault(entry.lower(), []).append(entry)
        stem, suffix = os.path.splitext(entry)
        if suffix.lower() in SUFFIXES:
          stems.setdefault(stem.lower(), []).append(entry)
      self._kept[folder] = names, stems
    return self._kept[folder]


def _quoted(names: Sequence[str]) -> str:
  return ' and '.join(repr(name) for name in names) or 'nothing'
