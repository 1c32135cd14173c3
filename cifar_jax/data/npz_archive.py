"""Reading of .npz files, whose arrays say how large they are before any of them is unpacked.

A zip of a few bytes can hold arrays of gigabytes. What its directory and the headers of its arrays
declare is compared with the memory that is free, and with the size of the file; neither can make
more be read than it declares.
"""

import math
import pathlib
import zipfile
from collections.abc import Callable, Collection, Sequence

import numpy as np

from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError

# Pictures pack to a third, drawings to a tenth, and zeros to a thousandth.
_MOST_PACKED = 100
_HARMLESS = 2**30  # bytes up to which it is not asked how well they pack
_MOST_BYTES = 16 * 2**30  # where the system does not say how much memory is free
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


def read(
  path: pathlib.Path, choose: Callable[[Sequence[str]], Collection[str]]
) -> dict[str, np.ndarray]:
  """Reads some of the arrays of a file; pickled objects, which could run code, are not read.

  Args:
    path: The file.
    choose: Tells which of the names in the file to read.

  Raises:
    UserError: the arrays would become too large, or what `choose` raises.
    Exception: the file is damaged; zipfile, zlib and NumPy have many kinds for that.
  """
  if not zipfile.is_zipfile(path):
    raise zipfile.BadZipFile('it is no zip file, as numpy.savez writes it')
  with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
    chosen = choose(archive.files)
    _check_size(path, sum(_declared(archive.zip, name) for name in chosen))
    return {name: archive[name] for name in chosen}


def _declared(archive: zipfile.ZipFile, name: str) -> int:
  """The bytes of an array as its header declares them, which the zip has to have too."""
  entry = archive.getinfo(name if name in archive.namelist() else f'{name}.npy')
  with archive.open(entry) as file:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
      raise ValueError(f"{name} is of version {version} of NumPy's format")
    shape, _, dtype = _HEADERS[version](file)
  if dtype.hasobject:
    raise ValueError(f'{name} holds Python objects, which are not read; save numbers')
  size = math.prod(shape) * dtype.itemsize
  if not 0 <= size <= entry.file_size:
    raise ValueError(f'{name} declares {size:,} bytes, and the zip has {entry.file_size:,} of it')
  return size


def _check_size(path: pathlib.Path, needed: int) -> None:
  """Raises UserError where arrays of so many bytes would be too large, or are a trap."""
  packed, there = path.stat().st_size, host_memory.available()
  if needed > max(_HARMLESS, _MOST_PACKED * packed):
    raise UserError(
      f'{path} has {packed:,} bytes, and its arrays unpack to {needed:,}, as no images do; if they '
      'are meant, save them by numpy.savez, which does not pack'
    )
  most = _MOST_BYTES if there is None else there
  if needed > most:
    raise UserError(
      f'the arrays of {path} unpack to {needed / 2**30:,.2f} GiB of memory, of which '
      f'{most / 2**30:,.2f} GiB are free; save fewer or smaller images, or pixels of uint8'
    )
