"""Exports a network: a folder with the network, what is to be known of it, and the proof of it.

  <what the target writes>   the network, for other software
  export.json                what it takes and gives, class names, normalization, notes
  parity.json                how it compares with the network that it was made of

The folder is there whole, with a parity that holds, or not at all.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cifar_jax.data import Examples
from cifar_jax.exchange import exported, parity
from cifar_jax.exchange.parity import Parity
from cifar_jax.exchange.targets import TARGETS, Options, Written
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import is_free, write_json
from cifar_jax.utils.locks import new_folder

PARITY = 'parity.json'


class Exported(NamedTuple):
  """An export that is there: its folder, what the target wrote, and how it compares."""

  folder: pathlib.Path
  written: Written
  parity: Parity


def export(
  network: Classifier,
  target: str,
  out: pathlib.Path,
  options: Options | None = None,
  examples: Callable[[], tuple[Examples | None, str]] | None = None,
  most: int | None = None,
  overwrite: bool = False,
  finish: Callable[[pathlib.Path], None] | None = None,
) -> Exported:
  """Exports a network and compares the export with it.

  Args:
    network: The network of a run.
    target: A name in `targets.TARGETS`.
    out: The folder to be.
    options: What the export takes and gives.
    examples: Called once the export is written: labeled images to compare on, or None for random
      pictures, and what they are, in the plural.
    most: The number of labeled images that both are judged on; None: all.
    overwrite: Whether an export that is there is replaced.
    finish: Called with the folder once the export has proved equal, to add what is for readers.

  Raises:
    UserError: something else is there or cannot be written, the network cannot be exported, or the
      export does not give what the network gives.
  """
  options = options or Options()
  entry = TARGETS[target]
  if entry.only_as is not None and options != entry.only_as:
    raise UserError(
      f'--to={target} has --preprocessing={entry.only_as.preprocessing} '
      f'--output={entry.only_as.output} alone; leave these options out, or choose another target'
    )
  out = out.absolute()
  check_place(out, overwrite)
  module = entry.load()
  with new_folder(out) as draft:
    written = module.write(exported.in_float32(network), draft, options)
    numbers = exported.statistics(network)
    if options.preprocessing == 'beside' and numbers.whitening is not None:
      np.save(draft / exported.WHITENING, numbers.whitening)
    size = sum(file.stat().st_size for file in draft.rglob('*') if file.is_file())
    write_json(draft / exported.FACTS, exported.facts(network, target, options, written))
    chosen, what = examples() if examples is not None else (None, 'random pictures')
    predict = module.open_exported(draft, options)
    found = parity.measure(network, predict, target, options, chosen, what, size, most)
    if not found.holds:
      raise UserError(
        f'the export to {target} does not give what the network gives, so it was not kept',
        found.lines(),
      )
    write_json(draft / PARITY, dataclasses.asdict(found))
    if finish is not None:
      finish(draft)
  return Exported(out, written, found)


def check_place(out: pathlib.Path, overwrite: bool) -> None:
  """Raises UserError where something is at `out` that an export must not replace."""
  if is_free(out):
    return
  if not (out / exported.FACTS).is_file():
    raise UserError(f'{out} is there already and no export; choose another folder by --out')
  if not overwrite:
    raise UserError(
      f'{out} is there already; --overwrite replaces it, --out chooses another folder'
    )
