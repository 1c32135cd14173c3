"""Writes the official file formats at any size, for the tests of their readers."""

import io
import pathlib
import pickle
import struct
import tarfile

import numpy as np


def random_batch(seed: int, count: int, num_classes: int = 10) -> tuple[np.ndarray, list[int]]:
  """Pixels uint8 [count, 3072], planes of red, green and blue, and labels."""
  generator = np.random.default_rng(seed)
  pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
  return pixels, generator.integers(0, num_classes, count).tolist()


def images_of(pixels: np.ndarray) -> np.ndarray:
  """What a reader must return: [N, 32, 32, 3], built pixel by pixel from the definition."""
  images = np.zeros((len(pixels), 32, 32, 3), np.uint8)
  for channel in range(3):
    for row in range(32):
      start = channel * 1024 + row * 32
      images[:, row, :, channel] = pixels[:, start : start + 32]
  return images


def python3_pickle(pixels: np.ndarray, labels: list[int], label_key: bytes = b'labels') -> bytes:
  """A batch as Python 3 with NumPy 2 writes it in protocol 2."""
  return pickle.dumps({b'batch_label': b'a test', label_key: labels, b'data': pixels}, protocol=2)


def python2_pickle(pixels: np.ndarray, labels: list[int], label_key: bytes = b'labels') -> bytes:
  """A batch in the opcodes that Python 2's cPickle used: byte strings and numpy.core."""

  def text(value: bytes) -> bytes:
    return b'U' + bytes([len(value)]) + value  # SHORT_BINSTRING

  array = (
    b'cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02'
    + (b'K\x00\x85' + text(b'b') + b'\x87Rq\x03')
    + (b'(K\x01' + b'J' + struct.pack('<i', len(pixels)) + b'M\x00\x0c\x86')
    + (b'cnumpy\ndtype\nq\x04' + text(b'u1') + b'K\x00K\x01\x87Rq\x05')
    + (b'(K\x03' + text(b'|') + b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89')
    + (b'T' + struct.pack('<i', pixels.size) + pixels.tobytes() + b'tb')  # BINSTRING
  )
  entries = text(label_key) + b'](' + b''.join(b'K' + bytes([label]) for label in labels) + b'e'
  return b'\x80\x02}q\x00(' + entries + text(b'data') + array + b'u.'


def binary_records(pixels: np.ndarray, labels: list[int], coarse: bool = False) -> bytes:
  """Records of one label byte (after a coarse one, in CIFAR-100) and 3,072 pixel bytes."""
  before = bytes([7]) if coarse else b''
  return b''.join(
    before + bytes([label]) + row.tobytes() for row, label in zip(pixels, labels, strict=True)
  )


def write_folder(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in files.items():
    (folder / name).write_bytes(content)
  return folder


def write_archive(path: pathlib.Path, folder: str, files: dict[str, bytes]) -> pathlib.Path:
  with tarfile.open(path, 'w:gz') as tar:
    entry = tarfile.TarInfo(folder)
    entry.type = tarfile.DIRTYPE
    tar.addfile(entry)
    for name, content in files.items():
      entry = tarfile.TarInfo(f'{folder}/{name}')
      entry.size = len(content)
      tar.addfile(entry, io.BytesIO(content))
  return path
