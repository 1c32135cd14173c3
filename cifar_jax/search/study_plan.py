"""What is fixed of a study from its first start to its last, and what may change: study.json."""

import dataclasses
import datetime
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from cifar_jax import config as configs
from cifar_jax.search import objectives as known_objectives
from cifar_jax.search import samplers
from cifar_jax.search.storage import without_password
from cifar_jax.trials.test_looks import STUDY_NAME
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import write_json

_FORMAT = 1
# What makes the numbers of two trials comparable.
_FIXED = ('kind', 'space', 'overrides', 'objectives', 'seeds')
_FLAGS = {'overrides': 'overrides (--config....)', 'objectives': '--objectives', 'seeds': '--seeds'}
# What the values of study.json are, where they are no texts.
_KINDS: Mapping[str, type] = {
  **dict.fromkeys(('overrides', 'objectives'), tuple),
  **dict.fromkeys(('seeds', 'sampler_seed'), int),
  'settings': Mapping,
}
_MAY_CHANGE = (
  'budget, sampler, pruner, workers and the ranges in the space file may change within a study'
)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The content of study.json.

  Attributes:
    kind: 'search' or 'evolve'.
    space: The space file, as it was written on the command line.
    overrides: As '--config.epochs=3', for all trials.
    objectives: The first is the one that counts where one alone can.
    seeds: How many runs a trial has.
    sampler: See `samplers`.
    pruner: See `samplers`.
    sampler_seed: What the sampler's random numbers follow from.
    storage: As `storage.open_store` takes it.
    name: What the storage calls the study; that of its folder when it began.
    created: When the study began, in UTC.
    settings: What else cannot change within a study of its kind: flag -> a number or a text.
    space_digest: What tells one content of the space file from another; '' if there is none.
  """

  kind: str
  space: str
  overrides: tuple[str, ...] = ()
  objectives: tuple[str, ...] = ('val_accuracy',)
  seeds: int = 1
  sampler: str = 'tpe'
  pruner: str = 'none'
  sampler_seed: int = 0
  storage: str = ''
  name: str = ''
  space_digest: str = ''
  created: str = dataclasses.field(
    default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  )
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def fixed(self) -> dict[str, Any]:
    """What cannot change within a study, as JSON keeps it."""
    found = {name: getattr(self, name) for name in _FIXED}
    found['space'] = configs.name_of(self.space)  # the file may be moved
    found |= {f'--{name}': value for name, value in self.settings.items()}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def read_plan(folder: pathlib.Path) -> Plan:
  """The content of a study's study.json.

  Raises:
    UserError: the folder is none of a study, or the file is damaged.
  """
  path = folder / STUDY_NAME
  if not os.path.lexists(path):
    raise UserError(f'{folder} is not the folder of a study: it has no {STUDY_NAME}')
  content = json_files.read(path)
  if content.get('format') != _FORMAT:
    raise json_files.damaged(path, f'its format is {content.get("format")!r}, not {_FORMAT}')
  names = {field.name for field in dataclasses.fields(Plan)}
  values: dict[str, Any] = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in content.items()
    if name in names
  }
  try:
    plan = Plan(**values)
    _check_values(plan)
  except (TypeError, UserError) as error:
    raise json_files.damaged(path, str(error)) from None
  return plan


def _check_values(plan: Plan) -> None:
  """Raises TypeError or UserError where a value cannot be of its kind, as after an edit by hand."""
  for field in dataclasses.fields(plan):
    value, kind = getattr(plan, field.name), _KINDS.get(field.name, str)
    texts = not isinstance(value, tuple) or all(isinstance(each, str) for each in value)
    if not isinstance(value, kind) or isinstance(value, bool) or not texts:
      raise TypeError(f'its {field.name} is {value!r}')
  if plan.seeds < 1:
    raise TypeError(f'its seeds are {plan.seeds}')
  known_objectives.parse(','.join(plan.objectives))
  if plan.sampler not in samplers.SAMPLERS:
    raise TypeError(f'its sampler is {plan.sampler!r}')


def write_plan(folder: pathlib.Path, plan: Plan) -> None:
  """Writes study.json, without the password of a storage."""
  content = {'format': _FORMAT, **dataclasses.asdict(plan)}
  content['storage'] = without_password(plan.storage)
  write_json(folder / STUDY_NAME, content)


def check_fixed(folder: pathlib.Path, before: Mapping[str, Any], plan: Plan) -> None:
  """Raises UserError where a study was begun for something else."""
  for name, value in plan.fixed().items():
    if before.get(name) != value:
      was, now = (
        ' '.join(map(str, v)) or 'none' if isinstance(v, list) else v
        for v in (before.get(name), value)
      )
      raise UserError(
        f'{folder} holds a study with other {_FLAGS.get(name, name)}: {was} before, {now} now; go '
        f'on with the old ones, or choose another --folder ({_MAY_CHANGE})'
      )


def changes_since(before: Plan, plan: Plan) -> tuple[str, ...]:
  """What is other than before and may be."""
  found = [
    f'--{name} was {old} and is {new} for the trials from now on'
    for name in ('sampler', 'pruner', 'sampler_seed')
    if (old := getattr(before, name)) != (new := getattr(plan, name))
  ]
  if before.space_digest != plan.space_digest:
    found.append(
      f'{plan.space} is not what it was: trials that have begun keep their configs, those from now '
      'on follow it; numbers of a range may change, the words of a choice cannot'
    )
  return tuple(found)
