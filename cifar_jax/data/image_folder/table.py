"""A table in a text file, as spreadsheets and scripts save it: UTF-8, UTF-16 or the code page of
Western Europe; commas, semicolons or tabs; a header or none.
"""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tqdm import tqdm

from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError

SUFFIXES = ('.csv', '.tsv', '.txt')
_MOST_BYTES = 2**28
_MOST_COLUMNS = 10_000
_MEMORY = 1200  # bytes that an image takes until it is listed, as of paths of twenty letters
_DELIMITERS = {',': 'commas', ';': 'semicolons', '\t': 'tabs'}
_SHOWN = 60  # letters of a line in a message
_PATIENCE = 1.0  # seconds that need no bar
# What spreadsheets write into the first line for each other.
_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Table:
  """The cells of a file, without spaces around them.

  Attributes:
    path: The file.
    header: The names of the columns as they are written; None where the file has none.
    rows: The other lines, each with as many cells.
    lines: The number in the file of each of them, from 1.
  """

  path: pathlib.Path
  header: tuple[str, ...] | None
  rows: tuple[tuple[str, ...], ...]
  lines: tuple[int, ...]


def read(
  path: pathlib.Path,
  is_header: Callable[[Sequence[str]], bool],
  is_row: Callable[[Sequence[str]], bool],
) -> Table:
  """Reads a table whose first line tells, by its cells, what divides them.

  Args:
    path: The file.
    is_header: Whether cells are the names of columns.
    is_row: Whether cells, which are no header, are the first row of a table without one.

  Raises:
    UserError: the file cannot be read, is no text or no table.
  """
  text = _text(path)
  delimiters: Sequence[str] = tuple(_DELIMITERS)
  if said := _SEPARATOR.match(text):
    text, delimiters = text[said.end() :], said[1]
  first_line = next((line for line in text.splitlines() if line.strip()), '')
  for test in (is_header, is_row):
    for delimiter in delimiters:
      first = _first_row(first_line, delimiter)
      if len(first) > 1 and test(first):
        return _parse(path, text, delimiter, test is is_header, 1 if said else 0)
  raise UserError(
    f'{path} begins with {first_line[:_SHOWN]!r}, which names no column of image files; expected a '
    'first line such as file,label, divided by commas, semicolons or tabs'
  )


def _text(path: pathlib.Path) -> str:
  try:
    with path.open('rb') as file:
      content = file.read(_MOST_BYTES + 1)
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror}); correct it') from None
  if len(content) > _MOST_BYTES:
    raise UserError(f'{path} has more than {_MOST_BYTES:,} bytes; divide it into smaller tables')
  wide = content.startswith((b'\xff\xfe', b'\xfe\xff'))
  # Bytes that are no UTF-8 are a code page's, which Excel's plain CSV is in.
  for encoding in ('utf-16',) if wide else ('utf-8-sig', 'cp1252'):
    try:
      text = content.decode(encoding)
    except UnicodeError:
      continue
    if '\0' not in text:
      return text
    break
  raise UserError(f'{path} is no text in UTF-8 or UTF-16; save the table as CSV in UTF-8')


def _first_row(line: str, delimiter: str) -> list[str]:
  try:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
  except csv.Error:
    return []


def _parse(path: pathlib.Path, text: str, delimiter: str, headed: bool, before: int) -> Table:
  """The cells of a text; `before` lines of the file came before it."""
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
  rows: list[tuple[str, ...]] = []
  lines: list[int] = []
  width = 0
  count, there = text.count('\n'), host_memory.available()
  if there is not None and count * _MEMORY > there:
    raise UserError(
      f'{path} has {count:,} lines, which take {count * _MEMORY / 2**30:,.2f} GiB of memory, of '
      f'which {there / 2**30:,.2f} GiB are free; take some out'
    )
  try:
    with bar_over(reader, f'reading {path.name}', count, 'line') as counted:
      for cells in counted:
        row = tuple(cell.strip() for cell in cells)
        if not any(row):
          continue
        line = reader.line_num + before
        if not width:
          width = len(row)
          while width > 1 and not row[width - 1]:  # spreadsheets fill lines up
            width -= 1
        if len(row) > _MOST_COLUMNS:
          raise UserError(f'{path}, line {line}: it has more than {_MOST_COLUMNS:,} columns')
        if len(row) < width or any(row[width:]):
          raise UserError(
            f'{path}, line {line}: it has {len(row)} cells divided by {_named(delimiter)}, and the '
            f'first line has {width}; put a cell that holds one in quotes'
          )
        rows.append(row[:width])
        lines.append(line)
  except csv.Error as error:
    raise UserError(f'{path}, line {reader.line_num + before}: {error}; correct it') from None
  header = rows.pop(0) if headed else None
  if headed:
    lines.pop(0)
  if not rows:
    raise UserError(f'{path} holds no line of an image; add some')
  return Table(path, header, tuple(rows), tuple(lines))


def bar_over(items: Iterable[Any], what: str, total: int, unit: str) -> tqdm:
  """The items, with a bar; none where nobody looks at it, or where they take no time."""
  return tqdm(
    items,
    what,
    total,
    unit=unit,
    unit_scale=True,
    disable=None,
    delay=_PATIENCE,
    leave=False,
  )


def _named(delimiter: str) -> str:
  return _DELIMITERS.get(delimiter, repr(delimiter))
