"""Folders of runs and studies as they change: only what changed is read and told again."""

import functools
import hashlib
import json
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cifar_jax import config as configs
from cifar_jax.dashboard import entries, studies
from cifar_jax.report import leaderboard
from cifar_jax.run_dir import history, run_files
from cifar_jax.run_dir.lock import LOCK_NAME, locked_files
from cifar_jax.trials import test_looks

_MOST_DIGITS = 18  # of a version
_EVERY_SECONDS = 0.8  # folders are looked through again at most so often, however many pages ask
_RUN_FILES = (configs.CONFIG_NAME, history.CSV_NAME, run_files.SUMMARY, run_files.ABOUT)
Signature = tuple[object, ...]


class _Told:
  """A run or study as it was told last."""

  def __init__(self, path: pathlib.Path, signature: Signature, entry: dict[str, Any]):
    self.path, self.signature, self.entry = path, signature, entry
    self.labels: Mapping[str, Any] = {}
    self.text, self.version = '', 0


class Watch:
  """What the page asks for; its methods may be called from several threads.

  Attributes:
    folders: Where to look; one that is missing is said to be.
    shows_test: Whether the runs of studies come with what they measured on the test set, which is a
      look at it that somebody notes.
  """

  def __init__(self, folders: Sequence[pathlib.Path], shows_test: bool = False):
    self.folders = tuple(folders)
    self.shows_test = shows_test
    self._lock = threading.Lock()
    self._token = secrets.token_hex(4)  # versions of another process mean nothing here
    self._version = 0
    self._looked = -_EVERY_SECONDS
    self._told: dict[str, dict[str, _Told]] = {'runs': {}, 'studies': {}}
    self._gone: dict[str, int] = {}
    self._missing: list[str] = []

  def changes(self, since: str = '') -> str:
    """What changed after a version, as JSON; everything where the version is none of this object.

    The answer has the new `version`, whole entries of `runs` and `studies` that are new or changed,
    ids of those that are `gone`, and `all`: whether what is not in it is no more.
    """
    with self._lock:
      self._look()
      token, _, number = since.partition('.')
      own = token == self._token and number.isdecimal() and len(number) <= _MOST_DIGITS
      known = int(number) if own else -1
      lists = {
        kind: [told.text for told in found.values() if told.version > known]
        for kind, found in self._told.items()
      }
      head: dict[str, Any] = {
        'version': f'{self._token}.{self._version}',
        'all': known < 0,
        'now': time.time(),
        'missing': self._missing,
        'gone': [name for name, version in self._gone.items() if version > known >= 0],
      }
      if known < 0:
        head |= {'folders': [str(folder) for folder in self.folders], **constants()}
    parts = [f'{json.dumps(kind)}: [{",".join(texts)}]' for kind, texts in lists.items()]
    return f'{json.dumps(head, allow_nan=False)[:-1]}, {", ".join(parts)}}}'

  def run(self, name: str) -> pathlib.Path | None:
    """The folder of the run with an id; None if there is none."""
    with self._lock:
      told = self._told['runs'].get(name)
      return told.path if told else None

  def _describe(self, run: pathlib.Path, held: bool | None) -> dict[str, Any]:
    entry = entries.describe(run, held)
    if self.shows_test or test_looks.study_of(run) is None:
      return entry
    return entries.without_test_numbers(entry)

  def _look(self) -> None:
    if time.monotonic() - self._looked < _EVERY_SECONDS:
      return
    self._missing = [str(folder) for folder in self.folders if not os.path.isdir(folder)]
    held = locked_files()
    found: dict[str, dict[str, _Told]] = {'runs': {}, 'studies': {}}
    places = (place for folder in self.folders for place in _walk(folder, leaderboard.DEPTH))
    for kind, path in _each_once(places):
      name = id_of(path)
      if kind == 'runs':
        locked = None if held is None else _inode(path / LOCK_NAME) in held
        signature = (*_signature(path, _RUN_FILES), locked)
        read = functools.partial(self._describe, path, locked)
      else:
        signature = _signature(path, studies.FILES)
        read = functools.partial(studies.describe, path)
      before = self._told[kind].get(name)
      if (
        before
        and before.signature == signature
        and not (held is None and entries.went_silent(before.entry))
      ):
        found[kind][name] = before
      else:
        found[kind][name] = _Told(path, signature, read())
    self._tell(found)
    self._looked = time.monotonic()

  def _tell(self, found: dict[str, dict[str, _Told]]) -> None:
    """Gives what differs from what was told last a new version."""
    version = self._version + 1
    runs = list(found['runs'].values())
    names = _names([told.path for told in runs], self.folders)
    data = leaderboard.told_apart([told.entry['row'] for told in runs])
    around = {told.path: name for name, told in found['studies'].items()}
    for told, name, row in zip(runs, names, data, strict=True):
      study = next((around[folder] for folder in told.path.parents if folder in around), None)
      label = row['data'] if told.entry['row'].get('data') else ''
      _set(told, {'name': name, 'path': str(told.path), 'data': label, 'study': study}, version)
    for told in found['studies'].values():
      _set(told, {'name': told.path.name, 'path': str(told.path)}, version)
    gone = [name for kind in found for name in self._told[kind].keys() - found[kind].keys()]
    everything = [told for kind in found.values() for told in kind.values()]
    changed = any(told.version == version for told in everything)
    self._gone |= dict.fromkeys(gone, version)
    for name in (*found['runs'], *found['studies']):
      self._gone.pop(name, None)
    self._told = found
    if changed or gone:
      self._version = version


def constants() -> dict[str, Any]:
  """What the page needs to know that no run tells."""
  from scipy import stats

  return {
    'defaults': entries.defaults(),
    # They tell no system from another, or what a column says already.
    'neutral': sorted(configs.NEUTRAL | {'data.name'}),
    'columns': {**leaderboard.COLUMNS, **dict.fromkeys(('train_loss', 'learning_rate'), False)}
    | {'train_accuracy': True},
    # Two-sided 95 % quantiles of Student's t with n - 1 degrees of freedom, from n = 2.
    't': [round(float(stats.t.ppf(0.975, n - 1)), 5) for n in range(2, 101)],
  }


def id_of(path: pathlib.Path) -> str:
  """A short name for a folder, the same each time, of which no path can be made."""
  return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]


def _inode(path: pathlib.Path) -> int | None:
  try:
    return path.stat().st_ino
  except OSError:
    return None


def _set(told: _Told, labels: Mapping[str, Any], version: int) -> None:
  if told.text and told.labels == labels:
    return
  content = {'id': id_of(told.path), **labels, **told.entry}
  told.labels, told.version = labels, version
  told.text = json.dumps(content, separators=(',', ':'), allow_nan=False)


def _names(paths: Sequence[pathlib.Path], folders: Sequence[pathlib.Path]) -> list[str]:
  """The path of each run below the folder that it was found in."""
  names = []
  for path in paths:
    inside = next((folder for folder in folders if folder in path.parents), path.parent)
    names.append(path.relative_to(inside).as_posix())
  if len(set(names)) == len(names):
    return names
  return [path.as_posix() for path in paths]


def _each_once(places: Iterable[tuple[str, pathlib.Path]]) -> list[tuple[str, pathlib.Path]]:
  """Places without those that are another one's by a link."""
  kinds = {path: kind for kind, path in places}
  return [(kinds[path], path) for path in leaderboard.without_links(list(kinds))]


def _walk(folder: pathlib.Path, depth: int) -> Iterator[tuple[str, pathlib.Path]]:
  """('runs' or 'studies', folder) for each; nothing is looked for inside of a run."""
  try:
    with os.scandir(folder) as found:
      inside = sorted(found, key=lambda each: each.name)
  except OSError:
    return
  names = {each.name for each in inside}
  if configs.CONFIG_NAME in names:
    yield 'runs', folder
    return
  if studies.ABOUT in names:
    yield 'studies', folder
  if depth:
    for each in inside:
      if not each.name.startswith('.') and os.path.isdir(each):  # not one that cannot be asked
        yield from _walk(folder / each.name, depth - 1)


def _signature(folder: pathlib.Path, names: Sequence[str]) -> Signature:
  """What differs once one of the files was written, replaced or deleted."""
  found: list[object] = []
  for name in names:
    try:
      about = (folder / name).stat()
    except OSError:
      found.append(None)
    else:
      found.append((about.st_mtime_ns, about.st_size, about.st_ino))
  return tuple(found)
