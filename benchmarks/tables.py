"""Tables of measurements as CSV files, and what stands in several of them."""

import contextlib
import csv
import functools
import importlib.metadata
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax.startup.processor import features, processor_name
from cifar_jax.utils.files import replacing

RESULTS = pathlib.Path(__file__).parent.parent / 'results'


def read(path: pathlib.Path) -> list[dict[str, str]]:
  """The rows of a table; [] before there is one."""
  if not path.exists():
    return []
  with path.open(encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: Sequence[Mapping[str, Any]], mode: str = 'w') -> None:
  """Writes a table of rows with the same columns, whole or not at all; with mode 'a' below those
  that are there.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  new = mode == 'w' or not path.exists()
  with contextlib.ExitStack() as stack:
    draft = stack.enter_context(replacing(path)) if mode == 'w' else path
    file = stack.enter_context(draft.open(mode, encoding='utf-8', newline=''))
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    if new:
      writer.writeheader()
    writer.writerows(rows)


def replace_in(page: pathlib.Path, name: str, table: str) -> None:
  """Writes a table of Markdown between the two marks that a page has for it."""
  before, begin, rest = page.read_text('utf-8').partition(f'<!-- {name}: begin -->\n')
  _, end, after = rest.partition(f'<!-- {name}: end -->')
  if not end:
    raise ValueError(f'{page} has no place for the table {name!r}')
  page.write_text(f'{before}{begin}{table}\n{end}{after}', 'utf-8')


append = functools.partial(write, mode='a')


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
  """'98.00 ± 1.41': the mean and, of two values or more, the standard deviation of a sample."""
  deviation = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''
  return f'{statistics.fmean(values):.{digits}f}{deviation}'


def rates(measured: Sequence[float]) -> dict[str, float]:
  """The columns of images per second in several turns: the median, the lowest and the highest."""
  median, lowest, highest = statistics.median(measured), min(measured), max(measured)
  columns = {'images_per_second': median, 'lowest': lowest, 'highest': highest}
  return {name: round(rate, 1) for name, rate in columns.items()}


def machine() -> str:
  """'AMD EPYC (avx512_bf16), 2 cores'."""
  return f'{processor()}, {os.cpu_count()} cores'


def processor() -> str:
  """The name of the processor, as far as the system tells, and its widest vectors."""
  name = processor_name()
  widest = [flag for flag in ('avx512_bf16', 'avx512f', 'avx2') if flag in features()]
  return f'{name} ({widest[0]})' if widest else name


def versions(*packages: str) -> str:
  """'jax 0.10.2, flax 0.12.8'."""
  return ', '.join(f'{package} {importlib.metadata.version(package)}' for package in packages)
