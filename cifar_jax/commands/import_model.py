"""Turns weights that Keras or PyTorch trained into a model folder, which works with every command
that takes a run. Its card says where they came from.

  python -m cifar_jax import cnn.pth --config=configs/cnn_adv.py --workdir=runs/from_torch
  python -m cifar_jax import cnn.h5 --config=configs/cnn_adv.py --workdir=runs/from_keras
  python -m cifar_jax evaluate runs/from_torch
  python launch.py --config=configs/cnn_adv.py --config.init_from=runs/from_torch

The config says which network it is, and which data it was trained on. FILE is a state dict of
PyTorch (.pth, .pt, .safetensors), a model or weights of Keras (.keras, .h5), or hub:OWNER/NAME for
the model.safetensors of a repository on the Hugging Face hub. No code in it is run. Tensors are
found by the names of `export --to=torch`, by those of torchvision, timm and transformers where a
published family is also one of ours, or else in order, by kind and shape.

Classes are those of the config's data; --labels names others, in the order of the logits. Images
are normalized as the config says: by --config.data.mean and .std, or by its training images, which
must then be available.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import user_path

_SHOWN = 5  # classes


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'turns weights of Keras or PyTorch into a model folder'
  parser = parsing.add_verb(
    verbs, 'import', run, about, __doc__, takes_overrides=True, group='Share'
  )
  parser.add_argument(
    'file',
    metavar='FILE',
    help='file of weights, or hub:OWNER/NAME for the model.safetensors there',
  )
  parsing.add_options(parser, '--config')
  parser.add_argument(
    '--workdir',
    type=parsing.run_path,
    required=True,
    metavar='FOLDER',
    help='the new model folder',
  )
  parser.add_argument(
    '--labels',
    metavar='NAME,NAME,...',
    help='names of the classes in the order of the logits, or a file with one per line; default: '
    "those of the config's data",
  )
  parser.add_argument(
    '--epsilon',
    type=float,
    help='what BatchNorm adds to the variance in the other program; default: the same as in this '
    "network, or PyTorch's 1e-5 if this network has Keras's 1e-3",
  )


def run(arguments: argparse.Namespace) -> None:
  """Makes the folder, and says what was found and what was assumed."""
  from cifar_jax import config as configs
  from cifar_jax.cards import imported
  from cifar_jax.run_dir import hub

  if arguments.epsilon is not None and not 0 <= arguments.epsilon < 1:
    raise UserError(f'--epsilon={arguments.epsilon}: it must be 0 or more and less than 1')
  config = configs.load(arguments.config, arguments.overrides)
  configs.validate(config)
  labels = _labels(arguments.labels)
  if arguments.file.startswith(hub.PREFIX):
    file, called = hub.fetch_weights(hub.parse(arguments.file)), arguments.file
  else:
    file = user_path(arguments.file)
    called = file.name  # the folder is of this machine
  made = imported.make_model_folder(
    file, config, arguments.workdir, labels, arguments.epsilon, called
  )
  names = made.subject.class_names
  shown = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
  height, width, channels = made.subject.preprocessing.shape
  print(f'weights     {arguments.file}: {made.about["parameters"]:,} parameters')
  for remark in made.imported.remarks:
    print(f'            {remark}')
  print(f'classes     {len(names)}, by {made.subject.named_by}: {shown}')
  print(f'images      {height}x{width}x{channels}, normalized by {made.normalized_by}')
  print(f'wrote       {arguments.workdir}')
  print(f'next        python -m cifar_jax evaluate {arguments.workdir}')


def _labels(text: str | None) -> tuple[str, ...]:
  """The names of --labels, of a file or separated by commas."""
  if text is None:
    return ()
  if ',' not in text:
    path = user_path(text)
    if not path.is_file():
      raise UserError(f'--labels={text}: there is no such file; write NAME,NAME,... or a file')
    try:
      text = ','.join(path.read_text('utf-8').split('\n'))
    except (OSError, UnicodeDecodeError) as error:
      raise UserError(f'--labels={path} cannot be read as text ({error})') from None
  names = tuple(name.strip() for name in text.split(',') if name.strip())
  if odd := [name for name in names if not name.isprintable()]:
    raise UserError(
      f'--labels: {odd[0][:80]!r} is no name of a class; take what cannot be printed out'
    )
  if len(set(names)) < max(len(names), 1):
    raise UserError(f'--labels={text[:80]}: each class needs a name of its own')
  return names
