"""The reference of all options, made from their declarations: docs/options.md and a terminal."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cifar_jax.config import migrations
from cifar_jax.config.options import CHOSEN, SECTIONS
from cifar_jax.schema.options import REQUIRED, Option, options_of
from cifar_jax.utils.errors import UserError

_HEAD = """\
# Options

This page lists every option of a run. `python -m cifar_jax options --markdown` prints it from the
declarations in the package; `python -m cifar_jax options WORD` shows the options that contain a
word. Set an option in a config file, as in `config.epochs = 3`, or on the command line, as in
`--config.epochs=3`. Options marked *resume* may change when a run is resumed, because they do not
affect updates that were already made. Options marked *since format 2* did not exist in the first
version, or had another name, which still works.

In formulas, p are the parameters, g is their gradient, m, v and a are running averages of gradients
or their squares, lr is the learning rate, and t of T updates have been made.
"""


class _Part(NamedTuple):
  """Options that stand together: of a section, or of a choice in it."""

  title: str
  about: str
  section: str
  options: tuple[Option, ...]


def _parts() -> Iterator[_Part]:
  from cifar_jax import models, optim  # which import JAX
  from cifar_jax.models import registry as networks
  from cifar_jax.optim.optimizers import Optimizer
  from cifar_jax.optim.parameter_groups import Group

  for section, (about, options) in SECTIONS.items():
    yield _Part(f'config.{section}' if section else 'config', about, section, options)
  shared = options_of(Optimizer)
  yield _Part(
    'config.optimizer', 'Options of every optimizer.', 'optimizer', tuple(shared.values())
  )
  for section, registry in optim.REGISTRIES.items():
    for name, choice in registry.items():
      own = [option for key, option in options_of(choice).items() if key not in shared]
      about = inspect.cleandoc(choice.__doc__ or '')
      yield _Part(f"config.{section}.name = '{name}'", about, section, tuple(own))
  for name in models.names():
    network = networks.find(name)
    declared = options_of(network) if isinstance(network, type) else {}
    yield _Part(f"config.model.name = '{name}'", _about(network), 'model', tuple(declared.values()))
  yield _Part(
    'config.optimizer.groups.NAME',
    'Parameters that are trained differently. A group also takes the options of its optimizer.',
    'optimizer.groups.NAME',
    tuple(options_of(Group).values()),
  )


def _about(network: Any) -> str:
  """The docstring of a network; its arguments, where it is a function, as a list."""
  about = re.split(r'\n\n(?:Attributes|Raises):', inspect.getdoc(network) or '')[0]
  return re.sub(r'\n  (\w+): ', r'\n- `\1`: ', about.replace('Args:\n', 'Options:\n\n'))


def markdown() -> str:
  """The text of docs/options.md."""
  blocks = [_HEAD, 'These options choose what their sections contain. Their defaults are\n']
  blocks += [
    f'    config.{s}.{k} = {v!r}' for s, values in CHOSEN.items() for k, v in values.items()
  ]
  for part in _parts():
    blocks.append(f'\n## {part.title}\n\n{part.about}\n')
    if part.options:
      rows = [
        f'| `{option.name}` | {_default(option)} | {_values(option)} | {_sentence(option)} |'
        for option in part.options
      ]
      blocks.append('\n'.join(['| option | default | values | |', '|---|---|---|---|', *rows, '']))
  return '\n'.join(blocks)


def search(words: Iterable[str]) -> str:
  """The options in whose name, former names included, values or sentence all words occur.

  Raises:
    UserError: There is none.
  """
  words = [word.lower().removeprefix('--config.') for word in words]
  found = []
  for part in _parts():
    for option in part.options:
      flag = f'--config.{part.section}.{option.name}'.replace('..', '.')
      text = f'{flag}={_default(option)}  {part.title}\n'
      text += textwrap.indent(
        textwrap.fill(f'{_sentence(option)} It is {_values(option)}.', 92), '    '
      )
      old = ' '.join(migrations.old_names(flag.removeprefix('--config.')))
      if all(word in f'{text} {old}'.lower() for word in words):
        found.append(text.replace('`', ''))
  if not found:
    raise UserError(f'no option has {" and ".join(map(repr, words))} in its name or its sentence')
  return '\n'.join(found)


def _default(option: Option) -> str:
  return 'required' if option.default is REQUIRED else f'`{option.default!r}`'


def _values(option: Option) -> str:
  unit = f', {option.unit}' if option.unit else ''
  return f'{option.constraint.description}{unit}'


def _sentence(option: Option) -> str:
  marks = ['*resume*'] if option.resumable else []
  marks += [f'since format {option.since}'] if option.since > 1 else []
  return f'{option.doc} ({", ".join(marks)})' if marks else option.doc
