"""Brings a data set onto this machine: from whichever mirror is the fastest, whole or not at all.

What comes over the network is kept where the readers of `cifar_jax.data` find it: the official
archive as it is, or the official unpacked files, made of the hub's PNGs. Before it takes its place
it has been read by those readers, and its images and labels were compared with the published ones.
"""

import dataclasses
import hashlib
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from cifar_jax.data import cifar_files, idx
from cifar_jax.data.fetch import contents
from cifar_jax.data.fetch.mirrors import PACKAGES, SAME_FILES, VARIABLE, Mirror, Package, mirrors_of
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import DiskError, make_folder
from cifar_jax.utils.locks import locked
from cifar_jax.utils.paths import cache_folder
from cifar_jax.utils.suggestions import did_you_mean, listed

if TYPE_CHECKING:
  from cifar_jax.data.fetch.download import Patience

NAMES = (*PACKAGES, *SAME_FILES)
_MARGIN = 16 << 20  # bytes of disk beyond those of the data: the slower mirrors of trials


@dataclasses.dataclass(frozen=True)
class Fetched:
  """A data set that is on this machine.

  Attributes:
    path: The archive, or the folder with its files.
    host: The host from which it came just now; '' where it was there.
    transferred: Bytes that came over the network.
    seconds: What that took.
    notes: Sentences on what was found in it.
  """

  path: pathlib.Path
  host: str = ''
  transferred: int = 0
  seconds: float = 0.0
  notes: tuple[str, ...] = ()


def default_folder() -> pathlib.Path:
  """Where data sets are kept that were fetched: the folder `datasets` of the cache."""
  return cache_folder() / 'datasets'


def find(name: str, folder: pathlib.Path) -> pathlib.Path | None:
  """The official files of one of `NAMES` in a folder, where they are there."""
  if name in idx.CLASSES:
    return idx.find(name, folder)
  return cifar_files.find(name, folder)


def check_name(name: str) -> None:
  """Raises UserError unless a data set of that name can be fetched."""
  if name not in NAMES:
    raise UserError(f'{name} is no data set that can be fetched{did_you_mean(name, NAMES)}')


def fetch(
  name: str,
  folder: pathlib.Path | None = None,
  addresses: Sequence[str] = (),
  say: Callable[[str], None] | None = None,
  patience: 'Patience | None' = None,
) -> Fetched:
  """Downloads a data set, or finds it where it was downloaded before.

  One process downloads at a time; others wait for it, and use what it brought. One that was killed
  left its part, with which the next one goes on.

  Args:
    name: One of `NAMES`.
    folder: Where to keep it; by default `default_folder()`.
    addresses: Where it is, see `mirrors.mirrors_of`.
    say: Is told what is worth a line; by default it stands on stderr.
    patience: How long to wait for what.

  Raises:
    UserError: the name is unknown, no mirror has it, there is no room, or the folder cannot be
      written; one sentence with what to do, and what each mirror answered.
  """
  check_name(name)
  package = PACKAGES[SAME_FILES.get(name, name)]
  folder = make_folder(default_folder() if folder is None else folder)
  say = say or _say
  if path := find(package.name, folder):
    return Fetched(path)
  try:
    waiting = f'{package.title}: another process is downloading it to {folder}; waiting for it'
    with locked(folder / f'.{package.name}.lock', lambda: say(waiting)):
      if path := find(package.name, folder):  # Another process was downloading it.
        return Fetched(path)
      staging = folder / f'.{package.name}.download'
      return _fetch(package, folder, staging, mirrors_of(package, addresses), say, patience)
  except OSError as error:
    raise DiskError(
      f'cannot write to {folder}: {error.strerror or error}; what came so far stays there, so mend '
      'that and run the same command again, or keep it in another folder: '
      f'python -m cifar_jax data fetch {package.name} --dir=FOLDER'
    ) from None


def compare(name: str, path: pathlib.Path) -> list[str]:
  """Compares what `find` found with the published images and labels; returns notes on it.

  Raises:
    UserError: they are others, or damaged.
  """
  package = PACKAGES[SAME_FILES.get(name, name)]
  try:
    return _compared(package, path)
  except (contents.OtherDataError, UserError) as error:
    # The readers, who know of no download, name the file too, and say to get it again.
    what = re.sub('[;:] get the file again$', '', str(error).rstrip('.'))
    what = what if what.startswith(str(path)) else f'{path}: {what}'
    raise UserError(f'{what}; move it away, and the same command downloads it anew') from None


def _fetch(
  package: Package,
  folder: pathlib.Path,
  staging: pathlib.Path,
  candidates: Sequence[Mirror],
  say: Callable[[str], None],
  patience: 'Patience | None',
) -> Fetched:
  """Downloads by way of the folder `staging`, which stays only where something has failed."""
  # They import requests, which takes a quarter of a second.
  from cifar_jax.data.fetch.download import Patience, RefusedError
  from cifar_jax.data.fetch.race import Runner, race

  def accept(runner: Runner) -> tuple[pathlib.Path, list[str]]:
    try:
      made, notes = _checked(package, runner.mirror, runner.folder)
    except (contents.OtherDataError, UserError) as error:
      shutil.rmtree(runner.folder)
      raise RefusedError(str(error)) from None
    target = _target(package, folder, runner.mirror)
    if target.is_dir():  # and empty, which Windows takes for something in the way
      target.rmdir()
    return made.replace(target), notes

  free = [mirror for mirror in candidates if not _holds_files(_target(package, folder, mirror))]
  if not free:
    raise UserError(
      f'{_target(package, folder, candidates[0])} holds other files than those of {package.title}; '
      'move it away, or keep the data set in another folder: '
      f'python -m cifar_jax data fetch {package.name} --dir=FOLDER'
    )
  usable = _with_room(package, folder, {m: staging / _key(m) for m in free})
  say(
    f'{package.title}: downloading {next(iter(usable)).size / 1e6:.0f} MB to {folder}, from '
    f'{" or ".join(mirror.host for mirror in usable)}'
  )
  start = time.monotonic()
  try:
    (path, notes), runner = race(usable, accept, package.name, patience or Patience(), say)
  except UserError as error:
    if not any(staging.rglob('*.part')):
      shutil.rmtree(staging, ignore_errors=True)
    raise UserError(
      f'{package.title} cannot be downloaded ({error}); bring {listed(list(package.packed), 1)} '
      f'into {folder / package.folder}, or set ${VARIABLE} to an address that has it',
      error.details,
    ) from None
  shutil.rmtree(staging, ignore_errors=True)
  seconds = time.monotonic() - start
  say(
    f'{package.title}: {runner.transferred / 1e6:.1f} MB from {runner.mirror.host} in '
    f'{seconds:.0f} s, compared with the published checksums; it is in {path}'
  )
  for note in notes:
    say(f'note: {note}')
  return Fetched(path, runner.mirror.host, runner.transferred, seconds, tuple(notes))


def _checked(
  package: Package, mirror: Mirror, folder: pathlib.Path
) -> tuple[pathlib.Path, list[str]]:
  """What of the files of a mirror is to be kept, a file or a folder, and notes on it.

  Raises:
    UserError: the files are damaged.
    OtherDataError: they hold other images or labels than those published.
  """
  if not mirror.parquet:
    return folder if package.folder else folder / mirror.files[0].name, _compared(package, folder)
  from cifar_jax.data.fetch import parquet  # imports Pillow

  made = folder / 'unpacked'
  notes: list[str] = []
  made.mkdir(exist_ok=True)
  for split, file in zip(package.unpacked, mirror.files, strict=True):
    rows_of_split = parquet.read(package, split, folder / file.name)
    files, note = contents.official_files(package, split, rows_of_split)
    notes += [note] if note else []
    for name, content in files.items():
      (made / name).write_bytes(content)
  return made, notes


def _compared(package: Package, path: pathlib.Path) -> list[str]:
  """Notes on official files; raises as `_checked` does."""
  rows = contents.read(package, path)
  notes = [contents.official_files(package, split, rows.pop(split))[1] for split in list(rows)]
  return [note for note in notes if note]


def _with_room(
  package: Package, folder: pathlib.Path, parts: Mapping[Mirror, pathlib.Path]
) -> dict[Mirror, pathlib.Path]:
  """The mirrors whose files, and what is made of them, find room on the disk; if that is none, the
  one that does in place of what earlier tries have left of others, which is removed.
  """
  free = shutil.disk_usage(folder).free
  here = {
    mirror: sum(file.stat().st_size for file in part.glob('*') if file.is_file())
    for mirror, part in parts.items()
  }
  needed = {
    mirror: max(0, mirror.size - here[mirror])
    + (package.unpacked_size if mirror.parquet else 0)
    + _MARGIN
    for mirror in parts
  }
  nearest = min(needed, key=lambda mirror: needed[mirror])
  if needed[nearest] > free:
    for mirror, part in parts.items():
      if mirror is not nearest:
        shutil.rmtree(part, ignore_errors=True)
    free = shutil.disk_usage(folder).free
  if needed[nearest] > free:
    raise UserError(
      f'{folder} has {free / 1e6:.0f} MB of room, and {package.title} needs '
      f'{needed[nearest] / 1e6:.0f} MB; make room there, or keep it in another folder: '
      f'python -m cifar_jax data fetch {package.name} --dir=FOLDER'
    )
  return {mirror: part for mirror, part in parts.items() if needed[mirror] <= free}


def _target(package: Package, folder: pathlib.Path, mirror: Mirror) -> pathlib.Path:
  """The place of what comes from a mirror."""
  if mirror.parquet:
    return folder / package.unpacked_folder
  return folder / (package.folder or mirror.files[0].name)


def _holds_files(path: pathlib.Path) -> bool:
  """Whether it is a folder that nothing can take the place of."""
  return path.is_dir() and any(path.iterdir())


def _key(mirror: Mirror) -> str:
  """A name for the folder of a mirror's parts."""
  return hashlib.sha256('\0'.join(file.url for file in mirror.files).encode()).hexdigest()[:12]


def _say(text: str) -> None:
  tqdm.write(text, file=sys.stderr)
