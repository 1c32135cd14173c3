"""Sorts images that lie side by side into OUT/train/CLASS and OUT/validation/CLASS by their names.

  python -m cifar_jax data organize photos tree --class cats=cat --class dogs=dog
  python -m cifar_jax data organize photos tree --class cats=cat --class dogs=dog --count=4000

A second call with the same OUT removes only what the first one made there.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'sorts a flat folder of images into class folders'
  parser = parsing.add_verb(verbs, 'organize', run, about, __doc__)
  parser.add_argument('flat', type=parsing.path, metavar='FLAT', help='folder with the images')
  parser.add_argument('out', type=parsing.path, metavar='OUT', help='where the tree is made')
  parser.add_argument(
    '--class',
    dest='classes',
    action='append',
    required=True,
    metavar='NAME=PATTERN',
    help='a class, and the regular expression searched for in the names of its images',
  )
  parser.add_argument('--count', type=int, default=0, help='number of images to take; default: all')
  parser.add_argument('--ratio', type=float, default=0.2, help='share for validation; default: 0.2')
  parser.add_argument('--seed', type=int, default=0, help='seed of the random choice; default: 0')
  parser.add_argument(
    '--how', default='copy', choices=['copy', 'link', 'symlink'], help='default: copy'
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints what was made."""
  from cifar_jax.data.image_folder.organize import organize, read_patterns

  made = organize(
    arguments.flat,
    arguments.out,
    read_patterns(arguments.classes),
    arguments.count,
    arguments.ratio,
    arguments.seed,
    arguments.how,
  )
  if made.removed:
    print(f'removed {made.removed} files that an earlier call had made')
  for split, classes in made.counts.items():
    parts = ', '.join(f'{count} {name}' for name, count in classes.items())
    print(f'{arguments.out / split}: {parts}')
  if made.left_out:
    print(f'{made.left_out} images left out')
  if made.unmatched:
    some = ', '.join(made.unmatched[:5])
    print(f'{len(made.unmatched)} images fit no class, or more than one, such as {some}')
  print(f'train on it: --config.data.name=folder --config.data.dir={arguments.out}')
