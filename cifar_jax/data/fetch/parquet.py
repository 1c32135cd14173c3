"""The images and labels in a Parquet file of the Hugging Face hub: one PNG a row."""

import io
import pathlib

import numpy as np
from tqdm import tqdm

from cifar_jax.data.fetch.contents import OtherDataError, records
from cifar_jax.data.fetch.mirrors import Package
from cifar_jax.data.image_file import pillow

_ROWS = 1000  # that are decoded at a time
_MOST_BYTES = 1 << 30  # that the columns may take when they are unpacked


def read(package: Package, split: str, path: pathlib.Path) -> np.ndarray:
  """The records of a split, see `contents`.

  Raises:
    OtherDataError: the file is damaged or holds something else; nothing is unpacked before its
      columns, rows and sizes are known to be right.
  """
  hub, count = package.hub, package.counts[split]
  try:
    import pyarrow.parquet  # 0.2 s

    with (
      pyarrow.parquet.ParquetFile(path) as table,
      tqdm(total=count, desc=f'decoding {split}', unit='image', disable=None, leave=False) as bar,
    ):
      groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
      if table.metadata.num_rows != count:
        raise OtherDataError(f'has {table.metadata.num_rows} images for {split}, not {count}')
      if sum(group.total_byte_size for group in groups) > _MOST_BYTES:
        raise OtherDataError('would unpack to more than a gigabyte')
      parts = []
      for batch in table.iter_batches(_ROWS, columns=[hub.image, *hub.labels]):
        images = [_pixels(row['bytes'], package) for row in batch.column(hub.image).to_pylist()]
        labels = [batch.column(name).to_numpy(zero_copy_only=False) for name in hub.labels]
        parts.append(records(np.stack(images), _bytes(np.stack(labels, axis=1))))
        bar.update(len(images))
      return np.concatenate(parts)
  except OtherDataError:
    raise
  except Exception as error:  # A damaged file can raise almost anything.
    reason = ' '.join(str(error).split())[:80]
    raise OtherDataError(f'has a file that cannot be read ({reason})') from None


def _pixels(content: bytes, package: Package) -> np.ndarray:
  """The pixels of a PNG of the right size, uint8 [H, W, C]."""
  height, width, channels = package.image_shape
  with pillow().Image.open(io.BytesIO(content), formats=('PNG',)) as image:
    if image.size != (width, height) or image.mode != ('RGB' if channels == 3 else 'L'):
      raise OtherDataError(f'has an image of {image.size} pixels and mode {image.mode}')
    return np.asarray(image).reshape(height, width, channels)


def _bytes(labels: np.ndarray) -> np.ndarray:
  if labels.min() < 0 or labels.max() > 255:
    raise OtherDataError('has labels out of range')
  return labels.astype(np.uint8)
