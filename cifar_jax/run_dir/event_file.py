"""TensorBoard's event files, by TensorBoard's own records and summaries.

What `tf.summary` writes, without TensorFlow, which would take seconds and hundreds of megabytes.
`tensorboard.summary.Writer` asks TensorFlow for its files wherever one is installed; its record
writer takes any file.
"""

import io
import itertools
import os
import pathlib
import socket
import struct
import time
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
from tensorboard.plugins.hparams.metadata import create_summary_metadata as hparams_metadata
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

_numbers = itertools.count()
_CHECKSUM_BYTES = 4
_HEADER = struct.Struct('<QI')  # of a record: its length and that number's checksum


class EventFile:
  """One event file, new in its folder; several are read in the order of their names.

  Every method raises OSError where the file cannot be written.
  """

  def __init__(self, folder: pathlib.Path):
    folder.mkdir(parents=True, exist_ok=True)
    # Padded, since names are ordered as texts: of files of the same second, 10 comes after 9.
    number = f'{next(_numbers):06d}'
    parts = (f'{int(time.time()):010d}', socket.gethostname(), os.getpid(), number)
    path = folder / f'events.out.tfevents.{".".join(map(str, parts))}'
    self._records = RecordWriter(path.open('xb'))
    self._write(Event(file_version='brain.Event:2'))

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes one point of each curve."""
    for name, value in scalars.items():
      self._write(Event(step=step, summary=scalar_pb(name, value)))

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes texts in Markdown by name."""
    for name, text in texts.items():
      self._write(Event(step=step, summary=text_pb(name, text)))

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes images by name, each uint8 [N, H, W, C] of one or three channels."""
    metadata = create_summary_metadata(display_name=None, description=None)
    for name, batch in images.items():
      height, width = batch.shape[1:3]
      content = [str(width).encode(), str(height).encode(), *map(_png, batch)]
      tensor = make_tensor_proto(content, dtype=np.object_)
      value = Summary.Value(tag=name, metadata=metadata, tensor=tensor)
      self._write(Event(step=step, summary=Summary(value=[value])))

  def write_hparams(self, hparams: Mapping[str, bool | float | str]) -> None:
    """Writes what the HParams page compares; runs with the same values are one group there."""
    self._write(Event(summary=hparams_pb(dict(hparams))))

  def write_success(self) -> None:
    """Writes that the run is over, for the HParams page."""
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(tag=SESSION_END_INFO_TAG, metadata=hparams_metadata(data))
    self._write(Event(summary=Summary(value=[value])))

  def flush(self) -> None:
    """Hands all that was written to the system."""
    self._records.flush()

  def close(self) -> None:
    """Ends the file."""
    self._records.close()

  def _write(self, event: Event) -> None:
    event.wall_time = time.time()
    self._records.write(event.SerializeToString())


def read_records(path: pathlib.Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
  """The whole records of an event file, each with the place after it, where to go on later.

  A record that is being written ends them. Checksums are not looked at: in Python that takes a
  second a megabyte, and who reads an event is told where it is none.

  Args:
    start: The place to begin at: 0, or one that came with a record.
  """
  with path.open('rb') as file:
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
      (length, _) = _HEADER.unpack(header)
      start += _HEADER.size + length + _CHECKSUM_BYTES
      if start > size:
        return
      yield start, file.read(length)
      file.seek(start)


def _png(image: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, 'png')
  return file.getvalue()
