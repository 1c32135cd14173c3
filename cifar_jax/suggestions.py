"""The tail of an error sentence that names the right word."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the nearest known word, else '; known are ...' with all.

  Args:
    word: what was written; need not be a string.
    known: what could have been written.
  """
  known = sorted(known)
  if close := difflib.get_close_matches(str(word), known, n=1, cutoff=0.6):
    return f'; did you mean {close[0]!r}?'
  return f'; known are {", ".join(known)}' if known else ''
