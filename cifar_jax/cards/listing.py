"""The table of the zoo."""

from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax.cards import facts
from cifar_jax.cards.markdown import percent
from cifar_jax.run_dir import model_folder
from cifar_jax.zoo import entries

_ON_TEST = 'the test set'


def entries_of_zoo() -> list[dict[str, Any]]:
  """A row for each entry, the smallest first."""
  rows = [_row(name) for name in entries.names()]
  return sorted(rows, key=lambda row: (row['parameters'] or 0, row['name']))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows for the terminal, each followed by the command that trained it."""
  titles = ('name', 'network', 'parameters', 'bytes', 'accuracy', 'weights', 'what it is for')
  cells = [titles]
  starred = False
  for row in rows:
    star = row['validated_on'] == _ON_TEST
    starred |= star
    accuracy = (
      '' if row['accuracy'] is None else f'{percent(row["accuracy"])}{"*" if star else " "}'
    )
    cells.append(
      (
        row['name'],
        row['network'],
        f'{row["parameters"] or 0:,}',
        f'{row["bytes"] or 0:,}',
        accuracy,
        row['precision'],
        row['purpose'],
      )
    )
  widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
  right = ('parameters', 'bytes', 'accuracy')
  lines = [
    '  '.join(
      text.rjust(width) if title in right else text.ljust(width)
      for title, text, width in zip(titles, line, widths, strict=True)
    ).rstrip()
    for line in cells
  ]
  total = sum(row['bytes'] or 0 for row in rows)
  width = max((len(row['name']) for row in rows), default=0)
  lines += [
    '',
    f'{len(rows)} entries, {total:,} bytes; accuracy of exactly these weights on the test set'
    + ('; *: the test set was the validation set too' if starred else ''),
    'trained by',
    *(f'  {row["name"].ljust(width)}  {row["command"]}' for row in rows),
  ]
  return '\n'.join(lines)


def _row(name: str) -> dict[str, Any]:
  known = facts.read(entries.find(name) / model_folder.CARD)
  result: dict[str, Any] = next(iter(known.get('results', ())), {})
  weights, data, trained = (known.get(part, {}) for part in ('weights', 'data', 'trained'))
  return {
    'name': name,
    'purpose': known.get('purpose', ''),
    'network': known.get('network', ''),
    'parameters': known.get('parameters'),
    'bytes': weights.get('bytes'),
    'accuracy': result.get('accuracy'),
    'loss': result.get('loss'),
    'examples': result.get('examples'),
    'data': data.get('name', ''),
    'validated_on': data.get('validated_on', ''),
    'precision': weights.get('precision', ''),
    'command': trained.get('command', ''),
    'sha256': weights.get('sha256', ''),
  }
