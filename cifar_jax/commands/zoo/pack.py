"""For maintainers: makes an entry of the zoo from a finished run. It rounds the weights to half
precision, measures exactly these weights on the whole test set, and writes them with a card.

  python -m cifar_jax zoo pack runs/fast90 --purpose='90 % in five minutes on two CPU cores'

No path of this machine is kept. An existing entry of that name is replaced.
"""

import argparse
import pathlib
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'makes a finished run an entry (for maintainers)'
  parser = parsing.add_verb(verbs, 'pack', run, about, __doc__, computes=True)
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir')
  parser.add_argument('--purpose', required=True, help='a sentence that says what the entry is for')
  parser.add_argument('--name', help="name of the entry; default: the name of RUN's folder")
  parser.add_argument(
    '--hardware', default='', help='what it was trained on; default: what the run recorded'
  )
  parser.add_argument(
    '--dtype', default='float16', choices=['float16', 'float32'], help='default: float16'
  )
  parser.add_argument(
    '--results',
    type=parsing.path,
    default=pathlib.Path('results'),
    metavar='FOLDER',
    help='folder of tables with other runs of the recipe; default: results',
  )
  parser.add_argument(
    '--into',
    type=parsing.path,
    metavar='FOLDER',
    help='folder of the entries; default: that of the package',
  )


def run(arguments: argparse.Namespace) -> None:
  """Packs, and says what came of it."""
  from cifar_jax.cards import facts, pack
  from cifar_jax.run_dir import model_folder
  from cifar_jax.trials import test_looks
  from cifar_jax.zoo import entries

  said = pack.Said(
    name=arguments.name or arguments.run.resolve().name,
    purpose=arguments.purpose,
    hardware=arguments.hardware,
    results=arguments.results,
  )
  folder = pack.pack(
    arguments.run,
    said,
    arguments.checkpoint,
    arguments.dtype,
    arguments.data_dir,
    arguments.into or entries.FOLDER,
  )
  test_looks.record(arguments.run, 'zoo pack', f'checkpoint {arguments.checkpoint}')
  known = facts.read(folder / model_folder.CARD)
  (result,), weights = known['results'], known['weights']
  print(
    f'{said.name}: test accuracy {100 * result["accuracy"]:.2f} %, loss {result["loss"]:.4f} '
    f'({result["examples"]} examples), {weights["bytes"]:,} bytes, largest difference from the '
    f'weights as trained {weights["largest_difference"]:.2g} in {weights["largest_difference_in"]}'
    f'\nlook at     {folder}'
  )
