"""python -m cifar_jax data fetch: a data set from the fastest mirror."""

import argparse
import shlex
from typing import Any

from cifar_jax.commands import parsing

_DESCRIPTION = """\
Downloads CIFAR-10, CIFAR-100, MNIST or Fashion-MNIST from the official site or a mirror, whichever
is fastest here. Training does the same when the data are first used.

  python -m cifar_jax data fetch                            # what exists, and what is already here
  python -m cifar_jax data fetch cifar10
  python -m cifar_jax data fetch cifar10 cifar100 --dir=data
  python -m cifar_jax data fetch mnist --mirror=http://localhost:8000

Two mirrors are asked at a time, and the faster one continues; one that stops responding or sends
the wrong bytes is replaced by the next. The same command continues an interrupted download, and
several commands at once download only once. Images and labels are compared with the published
checksums before the files are put in place. The files stay as their authors publish them, so other
programs can use them, too.

Without --dir they are kept in the folder datasets of the cache ($CIFAR_JAX_CACHE, else
~/.cache/cifar_jax), where --config.data.name=NAME finds them with no other option. With --dir=DIR
they are found by --config.data.dir=DIR or CIFAR_JAX_DATA=DIR, and in ./data always.

A mirror of your own holds the official files: cifar-10-python.tar.gz, cifar-100-python.tar.gz,
mnist/train-images-idx3-ubyte.gz ..., fashion-mnist/train-images-idx3-ubyte.gz ... Name
it with --mirror or $CIFAR_JAX_MIRROR (several, separated by spaces); no other host is then asked.
$HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY are honored; $HF_ENDPOINT names a copy of the Hugging Face
hub. Without a network, copy these files into DIR by hand.
"""


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'fetch', run, 'downloads a data set from the fastest mirror', _DESCRIPTION
  )
  parser.add_argument(
    'names', nargs='*', metavar='NAME', help='cifar10, cifar100, mnist or fashion_mnist'
  )
  parser.add_argument('--dir', type=parsing.path, metavar='DIR', help='where to keep them')
  parser.add_argument(
    '--mirror',
    action='append',
    default=[],
    metavar='URL',
    help='address of a mirror of your own, which is asked instead of all others; may be repeated',
  )


def run(arguments: argparse.Namespace) -> None:
  """Downloads, or prints what can be downloaded and what is here."""
  from cifar_jax.data import fetch

  if not arguments.names:
    print(_listing(arguments))
  for name in arguments.names:
    fetch.check_name(name)
  for name in arguments.names:
    fetched = fetch.fetch(name, arguments.dir, arguments.mirror)
    if not fetched.host:
      notes = fetch.compare(name, fetched.path)
      print(
        '\n'.join([f'{name} is in {fetched.path}, compared with the published checksums', *notes])
      )
    where = f' {shlex.quote(f"--config.data.dir={arguments.dir}")}' if arguments.dir else ''
    print(f'use it: --config.data.name={name}{where}')


def _listing(arguments: argparse.Namespace) -> str:
  """A line for each data set: its name, its bytes, and where it is or that it is not here."""
  from cifar_jax.data import fetch
  from cifar_jax.data.fetch.mirrors import PACKAGES
  from cifar_jax.data.sources import usual_locations

  locations = [arguments.dir] if arguments.dir else usual_locations()
  lines = []
  for name, package in PACKAGES.items():
    found = (fetch.find(name, location) for location in locations)
    path = next((path for path in found if path), None)
    size = sum(size for size, _ in package.packed.values()) / 1e6
    lines.append(f'{name:14} {size:4.0f} MB  {path or "not here"}')
  return '\n'.join(lines)
