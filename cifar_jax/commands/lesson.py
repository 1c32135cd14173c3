"""Shows what the layers of a network do to an image, computed with the layers of this toolkit, or
lists the kinds of layers.

  python -m cifar_jax lesson kernels cat.jpg
  python -m cifar_jax lesson relu cat.jpg --out=lessons
  python -m cifar_jax lesson pooling cat.jpg
  python -m cifar_jax lesson layers
"""

import argparse
import pathlib
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb with its lessons to the command line."""
  about = 'shows convolution, ReLU and pooling on an image'
  parser = parsing.add_verb(verbs, 'lesson', run, about, __doc__, group='Look')
  own = parser.add_subparsers(dest='lesson', required=True, metavar='LESSON')
  for name, about in (
    ('kernels', 'gradients, blur, sharpening, Sobel: one image per kernel'),
    ('relu', 'a feature map before and after ReLU'),
    ('pooling', 'max-pooling of the image, and of numbers'),
  ):
    lesson = parsing.add_verb(
      own, name, run, about, f'{about}.\n\n  python -m cifar_jax lesson {name} cat.jpg'
    )
    lesson.add_argument('image', metavar='IMAGE', help='file, address or - for stdin')
    lesson.add_argument(
      '--out',
      type=parsing.path,
      default=pathlib.Path('runs/lessons'),
      metavar='FOLDER',
      help='for the images; default: runs/lessons',
    )
  table = 'the kinds of layers and what they do'
  parsing.add_verb(
    own, 'layers', run, table, f'Prints {table}.\n\n  python -m cifar_jax lesson layers'
  )


def run(arguments: argparse.Namespace) -> None:
  """Writes the images and says where they are, or prints the table."""
  from cifar_jax.demos import layers

  if arguments.lesson == 'layers':
    print(layers.layer_table())
    return
  from cifar_jax.demos import figures

  draw = {'kernels': figures.kernels, 'relu': figures.relu, 'pooling': figures.pooling}
  drawn = draw[arguments.lesson](figures.gray(arguments.image))
  for path in figures.save(drawn, arguments.out / arguments.lesson):
    print(path)
