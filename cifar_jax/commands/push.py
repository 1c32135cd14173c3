"""Uploads a run, as a model folder with its card, to a repository of the Hugging Face hub.

  python -m cifar_jax push runs/cnn_adv --repo=me/cnn_adv --dry_run
  python -m cifar_jax push runs/cnn_adv --repo=me/cnn_adv --private --license=apache-2.0

It first shows what goes where: the config of the run, its weights, its history and a model card,
without any path of this machine and without its data. $HF_TOKEN, or else `hf auth
login`, says who uploads; the token is never shown. Afterwards, everyone who may read the
repository can use hub:me/cnn_adv as a RUN.
"""

import argparse
import pathlib
import tempfile
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'uploads a run to a repository of the Hugging Face hub'
  parser = parsing.add_verb(verbs, 'push', run, about, __doc__, group='Share')
  parsing.add_options(parser, 'run')
  parser.add_argument(
    '--repo',
    required=True,
    metavar='OWNER/NAME',
    help='the repository, created if it does not exist',
  )
  parser.add_argument('--private', action='store_true', help='make a new repository private')
  parser.add_argument('--dry_run', action='store_true', help='only show what would go where')
  parsing.add_options(parser, '--checkpoint')
  parser.add_argument(
    '--dtype',
    choices=['float16', 'float32'],
    help='of the weights of a run: float16 halves their size and rounds them; default: float32',
  )
  parser.add_argument(
    '--license',
    metavar='ID',
    help="license of the weights, by the hub's name for it, such as 'apache-2.0'",
  )


def run(arguments: argparse.Namespace) -> None:
  """Shows what goes where, and uploads it."""
  from cifar_jax.cards import share
  from cifar_jax.run_dir import hub

  address = hub.parse(arguments.repo)
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary, 'model')
    share.prepare(
      arguments.run,
      folder,
      address,
      arguments.checkpoint,
      arguments.dtype,
      arguments.license,
    )
    files = hub.files_of(folder)
    width = max(map(len, files))
    made = 'private' if arguments.private else 'public'
    print(f'to          {hub.endpoint()}/{address.repository} ({made}, if it is new)')
    for name, size in files.items():
      print(f'            {name:<{width}} {size:>13,} bytes')
    if arguments.dry_run:
      print('nothing was uploaded')
      return
    print(f'look at     {hub.push(folder, address, arguments.private)}')
    print(f'use it as   {hub.PREFIX}{arguments.repo.removeprefix(hub.PREFIX)}')
