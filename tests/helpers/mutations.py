"""Damaged copies of a file: cut, with other bytes, with headers that announce something else."""

import random
from collections.abc import Iterator


def mutations(content: bytes, count: int, seed: int = 0, header: int = 512) -> Iterator[bytes]:
  """Yields `count` damaged versions of a file's content, the same in each run.

  Args:
    header: The first bytes, of which more are changed than of the others.
  """
  draw = random.Random(seed)
  for number in range(count):
    damaged = bytearray(content)
    kind = number % 5
    if kind == 0:
      yield bytes(damaged[: draw.randrange(len(damaged))])
      continue
    if kind == 1:
      for _ in range(draw.randint(1, 4)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    elif kind == 2:
      damaged[draw.randrange(min(header, len(damaged)))] ^= 1 << draw.randrange(8)
    elif kind == 3:  # a number of four bytes in the header becomes a huge one, or none
      start = draw.randrange(max(1, min(header, len(damaged)) - 4))
      damaged[start : start + 4] = draw.choice([b'\xff' * 4, b'\x7f\xff\xff\xff', b'\x00' * 4])
    else:
      start = draw.randrange(len(damaged))
      damaged[start:start] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 64)))
    yield bytes(damaged)
