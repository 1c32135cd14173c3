"""Options of the command line that are written --SECTION.KEY=VALUE, apart from all others.

They are taken out before any other parser sees them: absl knows no such options, and argparse
takes one whose value has a space, as --data.dir='my photos', for a word that belongs to no option.
"""

import re
from collections.abc import Sequence


def split(argv: Sequence[str], section: str) -> tuple[list[str], list[str]]:
  """A command line without the options of a section, and these.

  A value that is the next word is joined to its option, `--config.seed 3` as `--config.seed=3`. A
  flag is no value, so that `--noconfig.tensorboard` and `--config.tensorboard` need none. What
  follows a bare `--` are no options.
  """
  option = re.compile(rf'--?(?:no)?{re.escape(section)}\.[^=]+')
  others: list[str] = []
  found: list[str] = []
  words = list(argv)
  while words:
    word = words.pop(0)
    if word == '--':
      return [*others, word, *words], found
    if not option.match(word):
      others.append(word)
      continue
    bare = '=' not in word and not re.match('--?no', word)
    if bare and words and words[0] != '--' and not re.match('--?[a-zA-Z]', words[0]):
      word = f'{word}={words.pop(0)}'
    found.append(word)
  return others, found
