"""The end of a study: its best config and its baseline on the test set, with several seeds, once.

Everything before was chosen by validation, so that the test set still judges: what a search found
is better by chance too, and most of what looks best is so by luck. New seeds and images that no
choice has seen tell what is left of it.
"""

import contextlib
import dataclasses
import datetime
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.trials import repeat, test_looks
from cifar_jax.trials.groups import listed_seeds, signature
from cifar_jax.trials.repeat import SeedRun
from cifar_jax.utils import json_files, locks
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, make_folder, write_json

RESULT, FOLDER, PLAN = 'final.json', test_looks.FINAL, 'plan.json'
FORMAT = 1
COLUMN = 'test_accuracy'
BEST, BASELINE = 'best', 'baseline'
# What must be the same on both sides, so that they learn from the same images.
_SPLIT = (
  *('validation', 'validation_from', 'keep_duplicates_together', 'keep_groups_together'),
  *('stratified', 'folds', 'fold'),
)


@dataclasses.dataclass(frozen=True)
class Final:
  """What is trained.

  Attributes:
    study: The study's folder.
    seeds: The seeds of each side.
    sides: `BEST`, and `BASELINE` if there is one, -> config.
    against: What the user called the baseline; '' for the study's own, or for none.
    overrides: What the command line changed in both configs.
    created: When it began, in UTC.
    number: How many finals this study had before.
    nothing_better: Whether the best config is the baseline itself, which then is no side.
  """

  study: pathlib.Path
  seeds: tuple[int, ...]
  sides: Mapping[str, ConfigDict]
  against: str = ''
  overrides: tuple[str, ...] = ()
  created: str = dataclasses.field(
    default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  )
  number: int = 0
  nothing_better: bool = False

  @property
  def folder(self) -> pathlib.Path:
    """Where its runs are."""
    return self.study / FOLDER

  def asked(self) -> dict[str, Any]:
    """What the command line asked for."""
    return {
      'seeds': list(self.seeds),
      'against': self.against,
      'overrides': list(self.overrides),
    }


def make(
  study: pathlib.Path,
  seeds: Sequence[int],
  best: ConfigDict,
  baseline: ConfigDict | None,
  against: str = '',
  overrides: Sequence[str] = (),
) -> Final:
  """A final of a study, of the best config and what it is compared with.

  Raises:
    UserError: The two are on different data.
  """
  sides = {BEST: best} if baseline is None else {BEST: best, BASELINE: baseline}
  if baseline is not None and baseline.data.name != best.data.name:
    raise UserError(
      f'--against={against} is on {baseline.data.name}, the study on {best.data.name}: what is '
      'measured on different images cannot be compared'
    )
  opened = {name: _opened(config, best, overrides) for name, config in sides.items()}
  alike = len({signature(config) for config in opened.values()}) < len(opened)
  if alike:
    del opened[BASELINE]
  return Final(study, tuple(seeds), opened, against, tuple(overrides), nothing_better=alike)


def read_result(study: pathlib.Path) -> dict[str, Any] | None:
  """The content of a study's final.json; None while it has none.

  Raises:
    UserError: It cannot be read.
  """
  path = study / RESULT
  return json_files.read(path) if os.path.lexists(path) else None


def has_failed(study: pathlib.Path, result: Mapping[str, Any]) -> bool:
  """Whether a seed of the final with this result failed, and can be trained once more.

  Raises:
    UserError: The result is none of a final.
  """
  with json_files.expected_in(study / RESULT):
    failed = any(side['failed'] for side in result['sides'].values())
  return failed and os.path.lexists(study / FOLDER / PLAN)


def settle(asked: Final, again: bool) -> Final:
  """What is trained now: the final that has begun in the study's folder, whose configs are those of
  then, or the one that is asked for.

  Args:
    asked: What the command line asks for, of the study as it is now.
    again: Whether a final that has a result, or that asked for something else, is put away.

  Raises:
    UserError: Another one has begun.
  """
  path = asked.folder / PLAN
  begun = json_files.read(path) if os.path.lexists(path) else None
  other = [
    f'{name}, {_shown(begun.get(name))} and not {_shown(value)}'
    for name, value in asked.asked().items()
    if begun is not None and begun.get(name) != value
  ]
  if again and (other or os.path.lexists(asked.study / RESULT)):
    _put_away(asked.study)
    begun = None
  if begun is None:
    return dataclasses.replace(asked, number=len(_put_aside(asked.study)))
  if other:
    raise UserError(
      f'the final of {asked.study} began with other {other[0]}; go on with those, or begin anew '
      'with --again'
    )
  with json_files.expected_in(path):
    return dataclasses.replace(
      asked,
      sides={name: configs.of_json(side, path) for name, side in begun['sides'].items()},
      created=str(begun['created']),
      number=int(begun['number']),
      nothing_better=bool(begun['nothing_better']),
    )


@contextlib.contextmanager
def alone(study: pathlib.Path) -> Iterator[None]:
  """Lets one process at a time work on the final of a study.

  Raises:
    UserError: Another one does.
  """

  def refuse() -> NoReturn:
    raise UserError(f'another process works on the final of {study}; wait for it, or stop it')

  with contextlib.ExitStack() as stack:
    with disk_errors(study):
      stack.enter_context(locks.locked(study / f'.{FOLDER}.lock', refuse))
    yield


def begin(final: Final) -> None:
  """Notes what is trained, and that the test set is opened for it; again does nothing."""
  if os.path.lexists(final.folder / PLAN):
    return
  make_folder(final.folder)
  note = f'seeds {listed_seeds(final.seeds)}, {" and ".join(final.sides)}'
  if final.number:
    note += f'; final number {final.number + 1} of this study'
  test_looks.record(final.folder, 'final', note)
  content = {
    'format': FORMAT,
    'created': final.created,
    'number': final.number,
    'nothing_better': final.nothing_better,
    **final.asked(),
    'sides': {name: configs.to_json(config) for name, config in final.sides.items()},
  }
  write_json(final.folder / PLAN, content)


def runs_of(final: Final) -> dict[str, list[SeedRun]]:
  """Side -> its runs, with the results of those that have finished."""
  return {
    name: repeat.plan(config, final.folder / name, final.seeds)
    for name, config in final.sides.items()
  }


def is_of(content: Mapping[str, Any], best: ConfigDict) -> bool:
  """Whether a result is that of a config, seeds aside.

  Args:
    content: Of final.json, for which `tell` had words.
    best: The best config of the study as it is now.

  Raises:
    UserError: The config can no longer be what the final made of it.
  """
  then = configs.of_json(content['sides'][BEST]['config'], RESULT)
  return signature(_opened(best, best, content.get('overrides', ()))) == signature(then)


def _put_aside(study: pathlib.Path) -> list[pathlib.Path]:
  """The folders of earlier finals."""
  return [path for path in study.glob(f'{FOLDER}_*') if path.is_dir()]


def _put_away(study: pathlib.Path) -> None:
  """Puts a final aside, its result with it, for a new one."""
  with disk_errors(study):
    # Killed in between, the result is made again of the runs, which are all there.
    if os.path.lexists(study / RESULT):
      (make_folder(study / FOLDER) / RESULT).unlink(missing_ok=True)
      (study / RESULT).rename(study / FOLDER / RESULT)
    number = 1
    while (study / f'{FOLDER}_{number}').exists():
      number += 1
    (study / FOLDER).rename(study / f'{FOLDER}_{number}')


def _opened(config: ConfigDict, best: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A config that opens the test set at its end, and holds the images out that `best` does."""
  found = ConfigDict(config.copy_and_resolve_references())
  for name in _SPLIT:
    found.data[name] = best.data[name]
  found = configs.override(found, overrides)
  with found.unlocked():
    found.evaluate.test = True
  if found.data.validation == 'test' and not found.data.folds:
    raise UserError(
      "data.validation='test' would choose the best checkpoint by the test set; hold training "
      'images out: --config.data.validation=5000'
    )
  return found.lock()


def _shown(value: Any) -> str:
  return ' '.join(map(str, value)) or 'none' if isinstance(value, list) else str(value) or 'none'
