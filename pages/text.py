"""Markdown from parts: tables, blocks of code, docstrings."""

import re
import textwrap
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
  """A table.

  Args:
    align: A character for each column: '-' to the left, ':' to the right.
  """
  rule = ['---:' if side == ':' else '---' for side in align]
  cells = [[cell.replace('|', '\\|') for cell in row] for row in rows]
  return ''.join(f'| {" | ".join(row)} |\n' for row in (head, rule, *cells))


def code(language: str, text: str) -> str:
  """A block of code."""
  fence = '`' * max(3, 1 + max((len(run) for run in re.findall('`+', text)), default=0))
  return f'{fence}{language}\n{text}\n{fence}\n'


def examples(text: str) -> list[str]:
  """The blocks of a docstring that are indented by two: its command lines."""
  return [
    textwrap.dedent(block).strip() for block in re.split(r'\n\s*\n', text) if _is_block(block)
  ]


def prose(text: str) -> str:
  """A docstring without those blocks."""
  kept = [block for block in re.split(r'\n\s*\n', text) if not _is_block(block)]
  return as_markdown('\n\n'.join(kept))


def as_markdown(text: str) -> str:
  """A docstring, whose indented blocks become blocks of code and whose +- becomes ±."""
  blocks = [
    code('bash', textwrap.dedent(block).strip('\n')) if _is_block(block) else f'{block}\n'
    for block in re.split(r'\n\s*\n', text.strip())
  ]
  return '\n'.join(blocks).replace('+-', '±')


def _is_block(block: str) -> bool:
  return block.startswith('  ')
