"""Damaged variants of a file, as copies that broke off, flipped bits and forged headers are."""

from collections.abc import Iterator

import numpy as np

_FORGED = (b'-1', b'99999999999', b'1e999', b'null', b'""', b'[]')


def mutated(content: bytes, count: int, seed: int) -> Iterator[bytes]:
  """So many variants: cut short, a byte changed, bytes put in or taken out, and digits among the
  first 2000 bytes made another number or none.
  """
  generator = np.random.default_rng(seed)
  digits = [place for place, byte in enumerate(content[:2000]) if 48 <= byte <= 57]
  for _ in range(count):
    data = bytearray(content)
    place = int(generator.integers(0, len(data)))
    kind = int(generator.integers(0, 5 if digits else 4))
    if kind == 0:
      del data[place:]
    elif kind == 1:
      data[place] ^= int(generator.integers(1, 256))
    elif kind == 2:
      data[place:place] = generator.bytes(int(generator.integers(1, 9)))
    elif kind == 3:
      del data[place : place + int(generator.integers(1, 50))]
    else:
      at = digits[int(generator.integers(0, len(digits)))]
      data[at : at + 1] = _FORGED[int(generator.integers(0, len(_FORGED)))]
    yield bytes(data)
