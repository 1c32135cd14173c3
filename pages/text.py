"""Markdown from parts: tables, blocks of code, docstrings."""

import re
import textwrap
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
  """A table, without the columns that are empty.

  Args:
    align: A character for each column: '-' to the left, ':' to the right.
  """
  kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
  head, align = [head[number] for number in kept], ''.join(align[number] for number in kept)
  rows = [[row[number] for number in kept] for row in rows]
  rule = ['---:' if side == ':' else '---' for side in align]
  cells = [[cell.replace('|', '\\|') for cell in row] for row in rows]
  return ''.join(f'| {" | ".join(row)} |\n' for row in (head, rule, *cells))


def code(language: str, text: str) -> str:
  """A block of code."""
  fence = '`' * max(3, 1 + max((len(run) for run in re.findall('`+', text)), default=0))
  return f'{fence}{language}\n{text}\n{fence}\n'


def example_first(text: str) -> str:
  """A docstring whose first block of command lines stands before all else."""
  blocks = re.split(r'\n[ \t]*\n', text.strip('\n'))
  first = next((number for number, block in enumerate(blocks) if _is_command(block)), None)
  if first:
    before = re.sub(r':$', '.', blocks[first - 1])  # what it announced no longer follows
    blocks = [blocks[first], *blocks[: first - 1], before, *blocks[first + 1 :]]
  return as_markdown('\n\n'.join(blocks))


def as_markdown(text: str) -> str:
  """A docstring, whose indented blocks become blocks of code and whose +- becomes ±."""
  blocks = [
    code('bash' if _is_command(block) else 'text', textwrap.dedent(block).strip('\n'))
    if _is_block(block)
    else f'{_plain(block)}\n'
    for block in re.split(r'\n[ \t]*\n', text.strip('\n'))
  ]
  return '\n'.join(blocks).replace('+-', '±')


def _plain(block: str) -> str:
  """A paragraph in which < and * mean themselves, but for a list's and those in code."""
  parts = re.split(r'(`[^`]*`|^\* )', block, flags=re.MULTILINE)
  return ''.join(
    part if number % 2 else part.replace('<', '&lt;').replace('*', '\\*')
    for number, part in enumerate(parts)
  )


def _is_command(block: str) -> bool:
  return _is_block(block) and block.lstrip().startswith('python')


def _is_block(block: str) -> bool:
  return block.startswith('  ')
