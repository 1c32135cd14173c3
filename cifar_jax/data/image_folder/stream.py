"""Images decoded when they are needed, by Grain's worker processes, for folders that do not fit
decoded on the disk.

Nothing is kept: which files a batch needs follows from (seed, step), see `data.Examples`. So the
stream of a resumed run is that of one that never stopped, whatever the number of workers.
"""

import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags

from cifar_jax.data.dataset import Split
from cifar_jax.data.image_file import DamagedImageError, decode_file
from cifar_jax.data.image_folder.listing import ImageFile, Listing
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.startup import processor
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require

# Batches planned at a time: after so many the workers are started anew.
_PLANNED = 100_000
_BATCHES_AHEAD = 2  # of each worker


@dataclasses.dataclass(frozen=True)
class FileSplit(Split):
  """Images that stay in their files; made by `file_split`.

  Attributes:
    images: A `FileImages`, which decodes when it is indexed, for the few images that are looked at
      outside of training.
    labels: The labels, as in `Split`.
    workers: How many processes decode.
  """

  workers: int = 1

  def take(self, index: slice | np.ndarray) -> 'FileSplit':
    """The part that a slice or an array of indices names."""
    images: Any = self.images
    files = tuple(images.files[row] for row in np.arange(len(self))[index])
    taken: Any = FileImages(files, images.preprocessing)
    groups = None if self.groups is None else self.groups[index]
    return FileSplit(taken, self.labels[index], self.workers, groups=groups)

  def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """For each array of indices [B], in order, their images uint8 [B, H, W, C].

    Raises:
      UserError: an image cannot be decoded, and the message names the file, or Grain is missing.
    """
    (grain,) = require('folders', 'grain')
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()  # Grain asks for flags of its own; not all commands use absl
    images: Any = self.images
    rows = iter(indices)
    while planned := list(itertools.islice(rows, _PLANNED)):
      plan = grain.MapDataset.source(planned).map(DecodeBatch(images.files, images.preprocessing))
      reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_BATCHES_AHEAD)
      stream = plan.to_iter_dataset(reading)
      if self.workers > 1:
        options = grain.MultiprocessingOptions(min(self.workers, len(planned)), _BATCHES_AHEAD)
        stream = stream.mp_prefetch(options, worker_init_fn=_end_with_parent)
      for batch in stream:
        if isinstance(batch, str):
          raise UserError(batch)
        yield batch


def _end_with_parent(worker: int, workers: int) -> None:
  """Lets a worker end with the process that it decodes for, and not by Ctrl-C before it.

  Grain's workers end when they are told to, which a process that is killed does not do; they would
  stay, with their memory and whatever they inherited, and wait for somebody to take their images.
  """
  del worker, workers
  parent = multiprocessing.parent_process()
  if parent is None:  # a thread, where Python has no global lock
    return

  # A terminal sends it to all processes; the one that trains still wants images of its last step.
  signal.signal(signal.SIGINT, signal.SIG_IGN)

  def watch() -> None:
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, name='parent', daemon=True).start()


def file_split(
  files: Sequence[ImageFile], listing: Listing, preprocessing: Preprocessing, workers: int
) -> FileSplit:
  """A split of these files.

  Args:
    files: The files in the order of the listing.
    listing: What they are listed in.
    preprocessing: How the files become images.
    workers: How many processes decode; 0 for one per processor core.
  """
  images: Any = FileImages(tuple(files), preprocessing)
  return FileSplit(images, listing.labels_of(files), workers or len(processor.cores()))


@dataclasses.dataclass(frozen=True)
class DecodeBatch:
  """Indices [B] -> uint8 [B, H, W, C], or the sentence of an error; sent to the workers once."""

  files: tuple[ImageFile, ...]
  preprocessing: Preprocessing

  def __call__(self, rows: np.ndarray) -> np.ndarray | str:
    """Decodes one batch."""
    try:
      return decode_rows(self.files, self.preprocessing, rows)
    except UserError as error:
      return str(error)


@dataclasses.dataclass(frozen=True)
class FileImages:
  """Stands for the array uint8 [N, H, W, C] of a split."""

  files: tuple[ImageFile, ...]
  preprocessing: Preprocessing

  @property
  def shape(self) -> tuple[int, int, int, int]:
    """(N, H, W, C)."""
    return (len(self.files), *self.preprocessing.shape)

  @property
  def dtype(self) -> np.dtype:
    """uint8."""
    return np.dtype(np.uint8)

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    return decode_rows(self.files, self.preprocessing, np.arange(len(self.files))[index])


def decode_rows(
  files: Sequence[ImageFile], preprocessing: Preprocessing, rows: np.ndarray
) -> np.ndarray:
  """uint8 [B, H, W, C] of these files; raises UserError, naming the file that is damaged."""
  images = np.empty((len(rows), *preprocessing.shape), np.uint8)
  for position, row in enumerate(rows):
    try:
      images[position] = decode_file(files[row].path, preprocessing).pixels
    except DamagedImageError as error:
      raise UserError(
        f'{files[row].path} cannot be used ({error}); remove it, or leave such files out with '
        '--config.data.folder.damaged=skip and --config.data.folder.cache=True'
      ) from None
  return images
