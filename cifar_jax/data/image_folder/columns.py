"""What the columns of a table of images mean, by their usual names, and the labels in them.

Nothing is guessed where a wrong guess would train without a word: columns that may both hold the
labels, labels that differ in case or spaces alone, and cells that may hold several labels are
asked about.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Sequence

from cifar_jax.data.image_folder.split_folders import SPLITS
from cifar_jax.data.image_folder.table import Table
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

# Names of the column of files; those of an earlier line go before those of a later one.
_FILES = (
  ('file', 'files', 'filename', 'filenames', 'file_name', 'filepath', 'file_path', 'path'),
  ('image_path', 'image_file', 'image_filename', 'img_path', 'image_name', 'img_name'),
  ('image', 'images', 'img'),
  ('image_id', 'img_id', 'id'),
)
_LABELS = (
  *('label', 'labels', 'label_name', 'class', 'classes', 'class_name', 'category', 'categories'),
  *('target', 'targets', 'tag', 'tags'),
)
_SPLITS = ('split', 'set', 'subset', 'partition')
_GROUPS = ('group', 'groups', 'group_id', 'patient', 'patient_id', 'subject', 'subject_id')
_INDEX = ('', 'unnamed:_0', 'index')  # of the rows, as pandas saves it
_SEPARATORS = ';|'
_NAMED = 8
_LONGEST_NAME = 255  # letters, as file systems have it for the folders of classes
_TRUE, _FALSE = ('1', 'true', 'yes'), ('0', 'false', 'no')
_DECIMAL = re.compile(r'(-?\d+)[.,]0+')  # '1.0', and '1,0' where a comma is the decimal point


@dataclasses.dataclass(frozen=True)
class Columns:
  """Which column holds what, as places in a row.

  Attributes:
    file: The name of the image file.
    label: The label or the labels in one cell; None where each label has a column.
    split: The name of the split; None without one.
    group: The group; None without one.
    flags: The columns of 0 and 1, one a label; () where one cell holds the labels.
    unused: The names of the others.
  """

  file: int
  label: int | None
  split: int | None = None
  group: int | None = None
  flags: tuple[int, ...] = ()
  unused: tuple[str, ...] = ()


def is_header(cells: Sequence[str]) -> bool:
  """Whether cells name the columns of a table of image files."""
  names = {_plain(cell) for cell in cells}
  return any(names & set(alike) for alike in _FILES)


def columns_of(table: Table) -> Columns:
  """Finds the columns of a table; of one without a header the two that it has.

  Raises:
    UserError: no column holds labels, or several may.
  """
  if table.header is None:
    return Columns(0, 1)
  names = [_plain(cell) for cell in table.header]
  file = None
  for alike in _FILES:
    if (file := _only(table, names, alike, 'the files')) is not None:
      break
  assert file is not None  # it is a header
  label = _only(table, names, _LABELS, 'the labels')
  split = _only(table, names, _SPLITS, 'the split')
  group = _only(table, names, _GROUPS, 'the group')
  known = {file, label, split, group}
  others = [place for place, name in enumerate(names) if place not in known and name not in _INDEX]
  if label is not None:
    return Columns(file, label, split, group, (), tuple(table.header[place] for place in others))
  if len(others) < 2:
    named = ', '.join(table.header)
    raise UserError(
      f'{table.path} has the columns {named}, none of which holds labels; name that one label, or '
      'give each of two labels or more a column of 0 and 1'
    )
  return Columns(file, None, split, group, tuple(others))


def _only(table: Table, names: Sequence[str], wanted: Iterable[str], what: str) -> int | None:
  """The one column with such a name, None if there is none."""
  assert table.header is not None
  found = [place for place, name in enumerate(names) if name in wanted]
  if len(found) > 1:
    both = ' and '.join(table.header[place] for place in found[:2])
    raise UserError(
      f'{table.path} has the columns {both}, which both may hold {what}; rename the one that does '
      'not'
    )
  return found[0] if found else None


def split_of(text: str, table: Table, line: int) -> str:
  """The split that a cell names in any usual spelling."""
  for split, names in SPLITS.items():
    if text.lower() in names:
      return split
  raise UserError(f'{table.path}, line {line}: {text!r} is no split; use train, validation or test')


def flagged(table: Table, columns: Columns) -> list[tuple[str, ...]]:
  """The labels of each row of a table with a column for each label.

  Raises:
    UserError: a cell is none of 0 and 1, -1 and 1, or of words for them.
  """
  assert table.header is not None
  names = [table.header[place] for place in columns.flags]
  check_names(table.path, names)
  values = {cell for row in table.rows for cell in (row[place] for place in columns.flags)}
  plain = {cell: _DECIMAL.sub(r'\1', cell).lower() for cell in values}
  # -1 is false where nothing is 0, as CelebA has it; beside 0 it means something else.
  signed = not any(value in _FALSE for value in plain.values())
  false = ('-1',) if signed else _FALSE
  meaning = {
    cell: value in _TRUE for cell, value in plain.items() if value in _TRUE or value in false
  }
  found = []
  for row, line in zip(table.rows, table.lines, strict=True):
    for place in columns.flags:
      if row[place] not in meaning:
        raise UserError(
          f'{table.path}, line {line}: {row[place]!r} in the column {table.header[place]} is '
          'neither 0 nor 1; name the column of the labels label, or take out columns that are none'
        )
    found.append(
      tuple(name for name, place in zip(names, columns.flags, strict=True) if meaning[row[place]])
    )
  return found


def written(table: Table, place: int, several: bool) -> list[tuple[str, ...]]:
  """The labels of each row of a table whose labels are in one cell.

  Args:
    place: The column.
    several: Whether a cell may hold several, divided by semicolons or bars, or none.

  Raises:
    UserError: a cell is empty or seems to hold several where it must be one.
  """
  cells = [row[place] for row in table.rows]
  if several:
    separators = [mark for mark in _SEPARATORS if any(mark in cell for cell in cells)]
    if len(separators) > 1:
      raise UserError(
        f'{table.path} divides labels by ; in some cells and by | in others; use one of them'
      )
    mark = separators[0] if separators else None
    found = [
      tuple(dict.fromkeys(filter(None, (part.strip() for part in cell.split(mark)))))
      if mark
      else ((cell,) if cell else ())
      for cell in cells
    ]
  else:
    joined = [cell for cell in cells if any(mark in cell for mark in _SEPARATORS)]
    if joined:
      raise UserError(
        f'{table.path} holds the label {joined[0]!r}; if its images have several labels each, set '
        '--config.data.multi_label=True, else take ; and | out of its labels'
      )
    for cell, line in zip(cells, table.lines, strict=True):
      if not cell:
        raise UserError(f'{table.path}, line {line}: it has no label; add it, or take the line out')
    found = [(cell,) for cell in cells]
  return found


def check_names(path: pathlib.Path, names: Iterable[str]) -> None:
  """Raises UserError where names of labels are no names, or differ in case and spaces alone."""
  alike: dict[str, list[str]] = collections.defaultdict(list)
  for name in names:
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
      raise UserError(
        f'{path} holds {name[:20]!r} of {len(name)} letters as a label; a label has 1 to '
        f'{_LONGEST_NAME} printable ones'
      )
    alike[' '.join(name.casefold().replace('_', ' ').split())].append(name)
  for same in alike.values():
    if len(same) > 1:
      shown = listed([repr(name) for name in sorted(same)], _NAMED)
      raise UserError(
        f'{path} holds labels that are written alike, {shown}; if they mean one class, write '
        'them as one, else rename one of them'
      )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
  """The names of classes in alphabetical order, or by number where all are whole numbers."""
  found = sorted(set(names))
  if all(re.fullmatch(r'\d{1,9}', name) for name in found):
    found.sort(key=int)
  return tuple(found)


def _plain(name: str) -> str:
  return re.sub(r'[\s\-]+', '_', name.strip().casefold())
