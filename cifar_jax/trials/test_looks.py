"""When and how often the test set of a study's runs was looked at: STUDY/test_looks.csv.

A study chooses by validation, and no trial opens the test set. Each look at it after that, whatever
is done with it, is a line here: a number that was chosen by the test set is no longer one that the
test set judges.
"""

import csv
import datetime
import io
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from cifar_jax.run_dir import references
from cifar_jax.utils import locks
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors

NAME = 'test_looks.csv'
STUDY_NAME = 'study.json'  # which a study's folder has, and no run's
FINAL = 'final'  # the folder in it of runs that judge what was chosen; of earlier ones final_<n>
_DEPTH = 5  # of a run below its study


class Look(NamedTuple):
  """A look at the test set.

  Attributes:
    when: In UTC, as '2026-11-27T22:10:05+00:00'.
    by: The command.
    run: Which run, below the study's folder; of several the folder around them.
    note: What else is to be said.
  """

  when: str
  by: str
  run: str
  note: str = ''


def study_of(run: pathlib.Path) -> pathlib.Path | None:
  """The study that a run, or the folder of runs, belongs to; None if to none."""
  if references.is_packaged(run):
    return None
  place = run.resolve()
  for folder in [place, *place.parents][: _DEPTH + 1]:
    if (folder / STUDY_NAME).is_file():
      return folder
  return None


def record(run: pathlib.Path, by: str, note: str = '') -> None:
  """Adds a look at the test set to the table of the run's study; of a run of none does nothing.

  Args:
    run: The folder of the run, or of several.
    by: The command that looks.
    note: What else is to be said.

  Raises:
    UserError: It cannot be written.
  """
  study = study_of(run)
  if study is None:
    return
  when = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  inside = run.resolve().relative_to(study).as_posix()
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  path = study / NAME
  with disk_errors(study), locks.locked(study / f'.{NAME}.lock', lambda: None):
    if not path.exists() or not path.stat().st_size:
      writer.writerow(Look._fields)
    elif not path.read_bytes().endswith(b'\n'):  # a power failure cut the last line short
      buffer.write('\n')
    writer.writerow(Look(when, by, inside, note))
    with path.open('a', encoding='utf-8', newline='') as file:
      file.write(buffer.getvalue())
      file.flush()
      os.fsync(file.fileno())


def record_each(runs: Iterable[pathlib.Path], by: str, note: str = '') -> None:
  """Adds a look at the test numbers of several runs to the table of each of their studies.

  Args:
    runs: The folders of the runs, of one study, several or none.
    by: As for `record`.
    note: As for `record`.

  Raises:
    UserError: It cannot be written.
  """
  of_study: dict[pathlib.Path, list[pathlib.Path]] = {}
  for run in runs:
    if (study := study_of(run)) is not None:
      of_study.setdefault(study, []).append(run.resolve())
  for found in of_study.values():
    record(pathlib.Path(os.path.commonpath(found)), by, note)


def read(study: pathlib.Path) -> list[Look]:
  """The looks so far, in order.

  Raises:
    UserError: The table cannot be read.
  """
  path = study / NAME
  try:
    rows = list(csv.DictReader(io.StringIO(path.read_text('utf-8-sig'))))
  except FileNotFoundError:
    return []
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UserError(f'{path} cannot be read ({error}); restore it from a copy') from None
  return [Look(*(row.get(name) or '' for name in Look._fields)) for row in rows]


def sentence(study: pathlib.Path) -> str:
  """When and how often, as of a study whose pages and lines say it."""
  looks = read(study)
  if not looks:
    return 'the test set of this study has not been looked at'
  first = _told(looks[0])
  if len(looks) == 1:
    return f'the test set of this study was looked at once: {first}'
  return (
    f'the test set of this study was looked at {len(looks)} times: first {first}, last '
    f'{_told(looks[-1])}'
  )


def _told(look: Look) -> str:
  day = look.when.replace('T', ' ')[:16]
  note = f', {look.note}' if look.note else ''
  of_run = f' of {look.run}' if look.run not in (look.by, '.') else ''
  return f'by {look.by}{of_run} on {day} UTC{note}'
