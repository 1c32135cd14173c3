"""Parts of sentences: the right word in place of a wrong one, and the first names of many."""

import difflib
from collections.abc import Iterable, Sequence


def nearest(word: object, known: Iterable[str]) -> str | None:
  """The known word most like `word`, which need not be a string; None if none is like it."""
  close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.55)
  return close[0] if close else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the nearest known word, else '; known are ...' with all."""
  known = sorted(known)
  if close := nearest(word, known):
    return f'; did you mean {close!r}?'
  return f'; known are {", ".join(known)}' if known else ''


def listed(names: Sequence[str], most: int) -> str:
  """Returns 'a, b and 3 more': the first `most` names, and how many others there are."""
  rest = len(names) - most
  return ', '.join(names[:most]) + (f' and {rest} more' if rest > 0 else '')
