"""The tail of an error sentence that names the right word."""

import difflib
from collections.abc import Iterable


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
