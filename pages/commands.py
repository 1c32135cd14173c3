"""The page of all commands, made from the help of each: its example first."""

import argparse
import io

from cifar_jax import commands
from pages.text import code, example_first


def pages() -> dict[str, str]:
  """The page by its path in docs/."""
  return {'commands.md': page()}


def page() -> str:
  """The text of the page."""
  parts = [
    '# Commands\n',
    '`python launch.py` trains; `python -m cifar_jax VERB` does everything else. This page shows '
    'what `--help` prints.\n',
    '## launch.py\n',
    *_launch(),
  ]
  for group, parsers in commands.make_parser().by_group():
    parts.append(f'## {group}\n')
    for name, parser in parsers.items():
      parts += _verb(name, parser, '###')
  parts += ['## Measuring\n', *_measuring()]
  return '\n'.join(parts)


def _launch() -> list[str]:
  """The page's part on launch.py, whose flags are absl's."""
  import launch

  about = launch.__doc__ or ''
  flags = launch.flags.FLAGS.get_flags_for_module(launch)
  lines = [f'  --{flag.name:<15} {flag.help}' for flag in flags]
  return [
    example_first(about),
    code('text', '\n'.join(['flags:', *lines])),
    'All options of the config are flags, too, such as `--config.epochs=3`: see '
    '[options](options.md).\n',
  ]


def _verb(name: str, parser: argparse.ArgumentParser, level: str) -> list[str]:
  about = parser.description or ''
  usage = io.StringIO()
  # Usage and arguments as on a terminal of 100 columns, without the description.
  parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100)
  parser.description = None
  parser.print_help(usage)
  parser.description = about
  return [
    f'{level} {name}\n',
    f'{_sentence(parser.get_default("about"))}\n',
    example_first(about),
    code('text', usage.getvalue().rstrip()),
  ] + [
    text
    for own, inner in _own_verbs(parser).items()
    for text in _verb(f'{name} {own}', inner, f'{level}#')
  ]


def _own_verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
  """The verbs of a verb, such as those of `data`."""
  nested = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
  return dict(nested[0].choices) if nested else {}


def _measuring() -> list[str]:
  from benchmarks import command_line

  parser = command_line.make_parser()
  about = parser.description or ''
  listed = [
    f'* `{name}`: {verb.get_default("about")}'
    for _, verbs in parser.by_group()
    for name, verb in verbs.items()
  ]
  return [
    example_first(about),
    '`python -m benchmarks VERB` writes the tables in [results/](../results/README.md):\n',
    '\n'.join(listed) + '\n',
  ]


def _sentence(about: str) -> str:
  return f'{about[:1].upper()}{about[1:].rstrip(".")}.'
