"""Tables of measurements as CSV files."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def append(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Adds rows with the same columns to a table, which is made with its header if missing."""
  path.parent.mkdir(parents=True, exist_ok=True)
  new = not path.exists()
  with path.open('a', newline='') as file:
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    if new:
      writer.writeheader()
    writer.writerows(rows)
