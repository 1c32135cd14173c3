"""What the files of older runs, and the words of older commands, are called today.

config.json, the config in a checkpoint, about.json and summary.json carry a `format`; files without
one are of format 1. A change of names is a new number: raise `FORMAT`, add a function that changes
a file of the number before, and a stored run of that number to tests/fixtures/runs.
"""

import copy
import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cifar_jax.utils.errors import UserError

FORMAT = 2


class Renamed(NamedTuple):
  """An option or a section that has another name now.

  Attributes:
    new: Its name.
    values: What its values are called now, where that has changed too.
  """

  new: str
  values: Mapping[str, Any] = {}


RENAMED: Mapping[str, Renamed] = {
  'gradient_accumulation': Renamed('grad_accum_steps'),
  'uneven_batch': Renamed('pad_to_devices', {'error': False, 'pad': True}),
  'start_from': Renamed('init_from'),
  'data.last_batch': Renamed('data.drop_remainder', {'keep': False, 'drop': True}),
  'batch_norm.ghost_rows': Renamed('batch_norm.ghost_batch_size'),
  'optimizer.sharpness_radius': Renamed('optimizer.sam_rho'),
  'average': Renamed('weight_averaging'),
  'early_stopping.counting': Renamed('early_stopping.patience_semantics'),
  'plateau.counting': Renamed('plateau.patience_semantics'),
  'evaluate.last_batch': Renamed('evaluate.drop_remainder', {'keep': False, 'drop': True}),
  'evaluate.pictures_every_epochs': Renamed('evaluate.images_every_epochs'),
  'evaluate.mistakes': Renamed('evaluate.max_misclassified'),
}
RENAMED_RESULTS = {
  'remark': 'split_note',
  'moving_statistics': 'non_trainable_params',
  'multiply_adds': 'macs',
  'operations_per_second': 'flops_per_second',
  'waiting_share': 'input_bound_fraction',
  'utilisation': 'mfu',
}


def _options_of_2(config: MutableMapping[str, Any]) -> None:
  _rename_options(config)


def _results_of_2(results: MutableMapping[str, Any]) -> None:
  for old, new in RENAMED_RESULTS.items():
    if old in results:
      results[new] = results.pop(old)


# The first makes format 2 of format 1, and so on.
_OF_CONFIGS: Sequence[Callable[[MutableMapping[str, Any]], None]] = (_options_of_2,)
_OF_RESULTS: Sequence[Callable[[MutableMapping[str, Any]], None]] = (_results_of_2,)


def current_config(content: Mapping[str, Any], where: object) -> dict[str, Any]:
  """The content of a config.json under the names of today, without its format.

  Args:
    content: What the file, or the same in a checkpoint, holds.
    where: What to call it in a message.

  Raises:
    UserError: It is of a newer format.
  """
  return _migrated(content, _OF_CONFIGS, where)


def current_results(content: Mapping[str, Any], where: object) -> dict[str, Any]:
  """The content of a summary.json or an about.json under the names of today, without its format."""
  return _migrated(content, _OF_RESULTS, where)


def _migrated(
  content: Mapping[str, Any],
  steps: Sequence[Callable[[MutableMapping[str, Any]], None]],
  where: object,
) -> dict[str, Any]:
  found = copy.deepcopy(dict(content))
  for step in steps[format_of(found, where) - 1 :]:
    step(found)
  found.pop('format', None)
  return found


def format_of(content: Mapping[str, Any], where: object) -> int:
  """The number of the format of a file, or of the facts of a checkpoint.

  Args:
    content: What it holds.
    where: What to call it in a message.

  Raises:
    UserError: The number is none, or that of a newer version.
  """
  number = content.get('format', 1)
  if not isinstance(number, int) or isinstance(number, bool) or number < 1:
    raise UserError(f'{where} is damaged (its format is {number!r}); restore it from a copy')
  if number > FORMAT:
    raise UserError(
      f'{where} is of format {number}, written by a newer version of cifar_jax; this one knows '
      f'formats up to {FORMAT}, so use that version, or a newer one'
    )
  return number


def rename_in_config(config: ConfigDict) -> None:
  """Gives what a config file sets by its old name the new one, and says so on stderr."""
  with config.unlocked(), config.ignore_type():
    for old, new in _rename_options(config):
      note(old, new)


def rename_in_arguments(arguments: Iterable[str]) -> list[str]:
  """Overrides of a config by the new names of options; says so on stderr."""
  return [_rename_argument(argument) for argument in arguments]


def new_name(option: str) -> str | None:
  """What an option, or a section, that has been renamed is called now."""
  for old, renamed in RENAMED.items():
    if option == old or option.startswith(f'{old}.'):
      return renamed.new + option.removeprefix(old)
  return None


def old_names(option: str) -> list[str]:
  """What an option was called before."""
  return [
    old + option.removeprefix(renamed.new)
    for old, renamed in RENAMED.items()
    if option == renamed.new or option.startswith(f'{renamed.new}.')
  ]


def renamed_in(text: str) -> str:
  """'; NAME is now called NAME' where a message names an option by its old last part; or ''."""
  for old, renamed in RENAMED.items():
    if re.search(rf'\b{old.rpartition(".")[2]}\b', text):
      return f'; {old} is now called {renamed.new}'
  return ''


@functools.cache
def note(old: str, new: str) -> None:
  """Says on stderr, once, what an option is called now."""
  print(f'note: --config.{old} is now called --config.{new}', file=sys.stderr)


def _rename_argument(argument: str) -> str:
  match = re.fullmatch(r'(--?(?:no)?config\.)([^=]+)(=.*)?', argument, re.DOTALL)
  new = match and new_name(match[2])
  if not match or not new:
    return argument
  text = match[3] or ''
  if match[2] in RENAMED:
    text = f'={value}' if (value := RENAMED[match[2]].values.get(text[1:])) is not None else text
  note(match[2], new)
  return f'{match[1]}{new}{text}'


def _rename_options(config: Any) -> list[tuple[str, str]]:
  """Renames in place, in a dictionary of dictionaries or a ConfigDict; returns (old, new) names."""
  found = []
  for old, renamed in RENAMED.items():
    section, key = _section(config, old)
    if section is None or key not in section:
      continue
    value = section[key]
    del section[key]
    value = next((new for word, new in renamed.values.items() if word == value), value)
    target, name = _section(config, renamed.new)
    if name in target and isinstance(value, Mapping | ConfigDict):
      for inner in value:
        target[name][inner] = value[inner]
    else:
      target[name] = value
    found.append((old, renamed.new))
  return found


def _section(config: Any, option: str) -> tuple[Any, str]:
  """The section in which an option is, None if there is no such section, and its key there."""
  *sections, key = option.split('.')
  for name in sections:
    config = config.get(name)
    if not isinstance(config, Mapping | ConfigDict):
      return None, key
  return config, key
