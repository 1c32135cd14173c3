"""The classes of one set of images as classes of another, by their names and never by chance."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean, listed, nearest

BY_NAME, BY_NUMBER = 'by name', 'by number'
_NAMED = 10  # classes named in a message; the rest are counted


@dataclasses.dataclass(frozen=True)
class Matching:
  """Which class of a network is meant by each class of a set.

  Attributes:
    numbers: The class of the network of each class of the set, int32 [classes of the set]; -1 for
      one that the network lacks.
    how: `BY_NAME` or `BY_NUMBER`.
    left_out: The names of the set's classes that the network lacks.
    renamed: Name in the set -> name in the network, as the user said.
  """

  numbers: np.ndarray
  how: str
  left_out: tuple[str, ...] = ()
  renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __str__(self) -> str:
    parts = [f'{len(self.numbers) - len(self.left_out)} classes, matched {self.how}']
    if self.renamed:
      parts.append('with ' + ', '.join(f'{a} = {b}' for a, b in self.renamed.items()))
    if self.left_out:
      parts.append(f'left out, since the run lacks them: {listed(self.left_out, _NAMED)}')
    return '; '.join(parts)


def match_classes(
  theirs: Sequence[str],
  ours: Sequence[str],
  source: str,
  renamed: Mapping[str, str] | None = None,
  skip_unknown: bool = False,
  digits_are_names: bool = False,
) -> Matching:
  """Matches the classes of a set with those of a network.

  Args:
    theirs: The names of the set's classes; where it has labels without names, their numbers.
    ours: The names of the network's classes.
    source: What errors call the set, usually its path.
    renamed: Name in the set -> name in the network, where they differ for the same thing; two of
      the set may mean one of the network.
    skip_unknown: Whether classes that the network lacks are left out instead of an error.
    digits_are_names: Whether '0' to '9' are what the classes are called, as of MNIST, and no
      numbers of classes that have no names.

  Raises:
    UserError: there are classes that the network lacks; the message lists both.
  """
  renamed = dict(renamed or {})
  for name, target in renamed.items():
    if name not in theirs:
      raise UserError(
        f'--classes={name}={target}: {source} has no class {name}{did_you_mean(name, theirs)}'
      )
    if target not in ours:
      raise UserError(
        f'--classes={name}={target}: the run has no class {target}{did_you_mean(target, ours)}'
      )
  number_of = {name: number for number, name in enumerate(ours)}
  nameless = not digits_are_names and all(re.fullmatch(r'0|[1-9]\d{0,8}', name) for name in theirs)
  if nameless and not renamed and set(theirs) - set(ours):
    if sorted(map(int, theirs)) == list(range(len(ours))):
      return Matching(np.array([int(name) for name in theirs], np.int32), BY_NUMBER)
    raise UserError(
      f'{source} has labels without names, {listed(sorted(theirs, key=int), _NAMED)}, and the run '
      f'has the {len(ours)} classes {listed(ours, _NAMED)}; they are taken by their numbers only '
      f'where these are 0 to {len(ours) - 1}: give the names as --classes={theirs[0]}={ours[0]},...'
    )
  wanted = [renamed.get(name, name) for name in theirs]
  unknown = tuple(name for name, ours_ in zip(theirs, wanted, strict=True) if ours_ not in ours)
  if unknown and (not skip_unknown or len(unknown) == len(theirs)):
    remedy = _alike(unknown, ours) or f'--classes={unknown[0]}={ours[0]},...'
    skip = ', or leave their images out with --skip_unknown_classes' if not skip_unknown else ''
    raise UserError(
      f'{source} has the classes {listed(theirs, _NAMED)}, but the run was trained on the classes '
      f'{listed(ours, _NAMED)}, which lack {listed(unknown, _NAMED)}; say which mean the same, as '
      f'{remedy}{skip}'
    )
  numbers = np.array([number_of.get(name, -1) for name in wanted], np.int32)
  return Matching(numbers, BY_NAME, unknown, renamed)


def parse_renamed(text: str) -> dict[str, str]:
  """Reads 'car=automobile,plane=airplane': name in the set -> name in the run.

  Raises:
    UserError: it is something else.
  """
  found: dict[str, str] = {}
  for pair in text.split(',') if text else ():
    name, equals, target = (part.strip() for part in pair.partition('='))
    if not (name and equals and target) or name in found:
      raise UserError(
        f'--classes={text}: {pair!r} is not NAME_IN_THE_SET=NAME_IN_THE_RUN, each name once; '
        'write them as --classes=car=automobile,plane=airplane'
      )
    found[name] = target
  return found


def _alike(unknown: Sequence[str], ours: Sequence[str]) -> str:
  """The option that matches names with those spelled alike, or nearly so; '' where none are."""
  by_spelling = {_spelling(name): name for name in ours}
  found = {name: by_spelling.get(_spelling(name)) or nearest(name, ours) for name in unknown}
  pairs = [f'{name}={target}' for name, target in found.items() if target]
  return f'--classes={",".join(pairs[:_NAMED])}' if pairs else ''


def _spelling(name: str) -> str:
  return re.sub(r'[\W_]+', '', name).casefold()
