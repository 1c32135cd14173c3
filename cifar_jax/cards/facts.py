"""The facts of a model card: collected from a run, or read from the card.json of a model folder."""

import datetime
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.utils import json_files

FORMAT = 1  # of card.json
UNKNOWN_LICENSE = 'unknown'
TEST_SET = 'the test set'  # validated on

_NUMBER = int | float
# Dotted name -> the type of its value, where it is there.
_KINDS: Mapping[str, Any] = {
  'format': int,
  **dict.fromkeys(('name', 'purpose', 'network', 'license', 'data_terms'), str),
  **dict.fromkeys(('parameters', 'classes'), int),
  **{f'data.{name}': str for name in ('name', 'fingerprint', 'split_note', 'validated_on')},
  **{f'data.{name}_examples': int for name in ('train', 'validation', 'test')},
  **{f'trained.{n}': str for n in ('command', 'config', 'hardware', 'precision', 'jax', 'date')},
  **{f'trained.{name}': int for name in ('seed', 'epochs', 'steps')},
  **{f'trained.{name}': _NUMBER for name in ('seconds', 'test_accuracy')},
  **{f'weights.{name}': str for name in ('precision', 'sha256', 'largest_difference_in')},
  'weights.bytes': int,
  'weights.largest_difference': _NUMBER,
  'sample.examples': int,
  'sample.correct': int,
}
_RESULT: Mapping[str, Any] = {
  'split': str,
  'accuracy': _NUMBER,
  'loss': _NUMBER,
  'map': _NUMBER,  # of images with several labels
  'examples': int,
  'of': str,
  'views': str,
}
_LARGEST = 1e300  # of a number
MEASURED = ('accuracy', 'loss', 'map')
_OTHER_RUN: Mapping[str, Any] = {'n': int, 'mean': _NUMBER, 'sd': _NUMBER, 'of': str, 'table': str}
_NAMES_OF_VIEWS = {
  'none': 'the image alone',
  'flip': 'the image and its mirror image',
  'flip_translate': 'six views of the image, mirrored and shifted',
}
# What training an own run anew would say otherwise: where, and with what in the terminal.
_PLACES = re.compile(r'--(workdir|progress|coordinator|config\.(data\.dir|tensorboard))(=|$)')


def facts_of(run: pathlib.Path) -> dict[str, Any]:
  """The facts of a run or of a model folder, as card.json has them; what is not known is missing.

  Raises:
    UserError: it is neither, or a file of it is damaged.
  """
  if model_folder.is_model_folder(run) and (run / model_folder.CARD).exists():
    return read(run / model_folder.CARD)
  config, about = configs.read(run), run_files.read_about(run)
  summary = run_files.read_summary(run)
  note = summary.get('split_note', about.get('split_note', ''))
  names = ('train_examples', 'validation_examples', 'test_examples')
  found: dict[str, Any] = {
    'format': FORMAT,
    'name': run.resolve().name,
    'network': str(config.model.name),
    'parameters': about.get('parameters'),
    'image_shape': about.get('image_shape'),
    'classes': len(about.get('class_names', ())) or None,
    'data': _present(
      {
        'name': about.get('data', config.data.name),
        'fingerprint': about.get('data_fingerprint'),
        **{name: about.get(name) for name in names},
        'split_note': note,
        'validated_on': _validated_on(note),
      }
    ),
    'results': _results(run, config, about, summary),
    'trained': _trained(run, config, summary),
    'license': UNKNOWN_LICENSE,
    'remarks': _remarks(note),
  }
  found = _present(found)
  _validate(found, run / run_files.SUMMARY)
  return found


def read(path: pathlib.Path) -> dict[str, Any]:
  """The facts in a card.json.

  Raises:
    UserError: it cannot be read, or a value is of another type.
  """
  content = _present(json_files.read(path))
  if content.get('format') != FORMAT:
    raise json_files.damaged(path, f'its format is {str(content.get("format"))[:80]}, not {FORMAT}')
  _validate(content, path)
  return content


def _validate(content: Mapping[str, Any], path: pathlib.Path) -> None:
  """Raises UserError where a value is of another type, or no finite number."""
  for name, kind in _KINDS.items():
    section, _, key = name.rpartition('.')
    holder = content.get(section, {}) if section else content
    _check(holder, {key: kind}, section or 'it', path)
  for name, kinds in (('results', _RESULT), ('other_runs', _OTHER_RUN)):
    for entry in _list(content, name, path):
      _check(entry, kinds, name, path)
  for remark in _list(content, 'remarks', path):
    if not isinstance(remark, str):
      raise json_files.damaged(path, f'a remark is {str(remark)[:80]!r}')


def measured_on_test(folder: pathlib.Path) -> dict[str, float]:
  """'test_accuracy' and 'test_loss' of the weights in a model folder, as its card says; {} where it
  says none.
  """
  path = folder / model_folder.CARD
  results = read(path).get('results', ()) if path.exists() else ()
  found = [each for each in results if each.get('split') == 'test']
  result: dict[str, Any] = found[0] if found else {}
  names = [name for name in ('accuracy', 'loss') if name in result]
  return {f'test_{name}': float(result[name]) for name in names}


def of_test(measured: Mapping[str, Any], of: str, config: ConfigDict) -> dict[str, Any]:
  """A result on the test set, of what `predict.evaluate.evaluate` found.

  Args:
    of: What was measured, in words.
    config: That it was measured by, which says what a prediction is made from.
  """
  return {
    'split': 'test',
    **{name: measured[name] for name in MEASURED if name in measured},
    'examples': measured['examples'],
    'of': of,
    'views': views(config),
  }


def of_weights(written: model_folder.Written, precision: str) -> dict[str, Any]:
  """What a card says of the file of the weights; `precision` is that of the parameters."""
  return {
    'precision': precision,
    'bytes': written.bytes,
    'sha256': written.sha256,
    'largest_difference': written.largest_difference,
    'largest_difference_in': written.where,
  }


def without_paths(command: str) -> str:
  """A command of launch.py without the paths of the machine that it ran on, and without what
  changes nothing about the network.
  """
  try:
    words = shlex.split(command)
  except ValueError:
    words = command.split()
  kept: list[str] = []
  skip = False
  for word in words:
    if skip:
      skip = False
    elif match := _PLACES.match(word):
      skip = not match[3]  # its value is the next word
    else:
      name, equals, value = word.rpartition('=')
      kept.append(f'{name}{equals}{_place(value)}')
  return shlex.join(kept)


def config_name(command: str) -> str:
  """'fast83' of '... --config=configs/fast83.py ...'; '' where it names none."""
  match = re.search(r'--config[= ]\S*?([\w-]+)(?:\.py)?(?::\S*)?(?=\s|$)', command)
  return match[1] if match else ''


def views(config: ConfigDict) -> str:
  """What a prediction is made from, in words."""
  return _NAMES_OF_VIEWS.get(config.evaluate.tta, config.evaluate.tta)


def _place(value: str) -> str:
  """A path as it would be in a clone; other values as they are."""
  if not re.match(r'([a-zA-Z]:)?[\\/]|~', value):
    return value
  parts = re.split(r'[\\/]', value)
  return '/'.join(parts[-2:] if parts[-2:-1] == ['configs'] else parts[-1:])


def _results(
  run: pathlib.Path, config: ConfigDict, about: Mapping[str, Any], summary: Mapping[str, Any]
) -> list[dict[str, Any]]:
  of = f'the last checkpoint, computed in {config.model.get("dtype", "float32")}'
  common = {'of': of, 'views': views(config)}
  for split, prefix in (('test', 'test'), ('validation', 'val')):
    if f'{prefix}_accuracy' in summary:
      numbers = {name: summary.get(f'{prefix}_{name}') for name in MEASURED}
      examples = about.get(f'{split}_examples')
      return [_present({'split': split, **numbers, 'examples': examples, **common})]
  return []


def _trained(run: pathlib.Path, config: ConfigDict, summary: Mapping[str, Any]) -> dict[str, Any]:
  command = summary.get('command')
  devices = [summary.get('processor'), summary.get('devices')]
  date = None
  if summary:
    written = (run / run_files.SUMMARY).stat().st_mtime
    date = datetime.datetime.fromtimestamp(written, datetime.UTC).date().isoformat()
  return _present(
    {
      'command': f'python {without_paths(command)}' if command else None,
      'config': config_name(command) if command else None,
      'seed': config.get('seed'),
      'epochs': summary.get('last_epoch', summary.get('epochs')),
      'steps': summary.get('steps'),
      'seconds': summary.get('seconds'),
      'hardware': '; '.join(str(device) for device in devices if device) or None,
      'precision': config.model.get('dtype'),
      'jax': summary.get('jax'),
      'date': date,
      'test_accuracy': summary.get('test_accuracy'),
    }
  )


def _validated_on(note: str) -> str:
  if 'test used as validation' in note:
    return TEST_SET
  if 'validation used as test' in note:
    return 'images held out, which also serve as test'
  return 'images held out'


def _remarks(note: str) -> list[str]:
  found = []
  if 'test used as validation' in note:
    found.append(
      'The test set was used as validation, as the article does: whatever was chosen by it (the '
      'best epoch, the recipe) makes its accuracy an optimistic one.'
    )
  if 'validation used as test' in note:
    found.append('There is no test set: the numbers are of the validation images.')
  if 'synthetic' in note:
    found.append('The images were drawn by a program: this network knows nothing of photographs.')
  return found


def _present(content: Mapping[str, Any]) -> dict[str, Any]:
  """What is known, in objects and lists of objects within it too."""

  def inner(value: Any) -> Any:
    if isinstance(value, list):
      return [inner(each) for each in value]
    return _present(value) if isinstance(value, dict) else value

  return {name: inner(value) for name, value in content.items() if value is not None}


def _list(content: Mapping[str, Any], name: str, path: pathlib.Path) -> list[Any]:
  found = content.get(name, [])
  if not isinstance(found, list):
    raise json_files.damaged(path, f'{name} is {str(found)[:80]!r}')
  return found


def _check(holder: Any, kinds: Mapping[str, Any], what: str, path: pathlib.Path) -> None:
  if not isinstance(holder, dict):
    raise json_files.damaged(path, f'{what} is {str(holder)[:80]!r}')
  for name, kind in kinds.items():
    value = holder.get(name)
    wrong = not isinstance(value, kind) or isinstance(value, bool)
    if value is not None and (wrong or (kind is not str and not abs(value) < _LARGEST)):
      raise json_files.damaged(path, f'{name} is {str(value)[:80]!r}')
