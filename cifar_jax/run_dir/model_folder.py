"""Model folders: a finished run without what training needs, to be kept, shared and used.

  config.json          the config of the run
  about.json           its classes, the shape of its images and how images become inputs, the step,
                       what its data are known by, and the checksum of the weights
  normalization.npz    what its images are normalized by, where the config does not say it
  model.safetensors    its variables as 'params/...' and 'batch_stats/...', float16 or float32
  metrics.csv          the history of its training, where that is known
  card.json            facts about it
  README.md            the same, for people

Every command that takes the folder of a run takes one of these. What reads the variables of either
is `read_variables`.
"""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.augment.normalize import Statistics
from cifar_jax.run_dir import history, references, run_files
from cifar_jax.run_dir.checkpoint import BEST, LATEST, Checkpoints
from cifar_jax.training.multi_label import THRESHOLDS
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import is_free, write_json
from cifar_jax.utils.locks import new_folder
from cifar_jax.weights import safetensors_files

WEIGHTS, CARD, README = json_files.WEIGHTS, 'card.json', 'README.md'
CURVES, CONFUSION = 'curves.png', 'confusion.png'  # pictures of the card
COLLECTIONS = ('params', 'batch_stats')
_LONGEST_NAME = 255  # letters of a class, as file systems have it for the folders of classes
_MOST_PARTS = 100  # of a name: JAX's trees cannot be much deeper
STEP = 'step'  # this and the next two are keys of about.json
CHECKSUM, _DATA = 'weights_sha256', 'data_facts'
_OF_DATA = ('data', 'data_sample')  # what `data.Splits.facts` names


class Written(NamedTuple):
  """What became of variables on the way into a file.

  Attributes:
    sha256: The checksum of model.safetensors.
    bytes: Its size.
    largest_difference: The largest difference of a number from what it was.
    where: The tensor with that number; '' where none differs.
  """

  sha256: str
  bytes: int
  largest_difference: float
  where: str


def is_model_folder(folder: pathlib.Path) -> bool:
  """Whether a folder has trained weights in place of the checkpoints of a run."""
  return (folder / WEIGHTS).is_file() and not any((folder / n).is_dir() for n in (LATEST, BEST))


def check_not_trained_in(folder: pathlib.Path) -> None:
  """Raises UserError where a training would begin in a model folder."""
  if is_model_folder(folder):
    name = references.shown(folder)
    raise UserError(
      f'--workdir={name} is a model folder: it has trained weights and nothing that training '
      'could go on from; choose another --workdir, and start there from these weights by '
      f'--config.init_from={name}'
    )


def check_class_names(folder: pathlib.Path, names: Sequence[str]) -> None:
  """Raises UserError where a model folder, which may come from anywhere, calls a class what would
  not be one word on a terminal, or two classes the same.
  """
  if not is_model_folder(folder):
    return
  path = folder / run_files.ABOUT
  for name in names:
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
      raise json_files.damaged(
        path,
        f'class_names holds {name[:20]!r} of {len(name)} letters; a name has 1 to '
        f'{_LONGEST_NAME} printable ones',
      )
  if len(set(names)) < len(names):
    raise json_files.damaged(path, 'class_names holds a name more than once')


def write(
  folder: pathlib.Path,
  *,
  config: ConfigDict,
  about: Mapping[str, Any],
  variables: Mapping[str, Any],
  normalization: Statistics | None = None,
  rows: Sequence[history.Row] = (),
  card: Mapping[str, Any] | None = None,
  readme: str | None = None,
  dtype: str = 'float16',
  replace: bool = False,
) -> Written:
  """Writes a model folder, whole or not at all.

  Args:
    folder: Where; it is made, with those around it.
    config: The config of the run, written as it is; `without_places` takes the paths of this
      machine out.
    about: As of a run's about.json: 'class_names' and 'image_shape' [H, W, C] at least; what
      `facts_about` gives, where it comes from a run.
    variables: The collections 'params' and 'batch_stats', of float32 arrays.
    normalization: What the images are normalized by, of a config with another
      `config.data.normalize` than 'given'.
    rows: The history of the training, for metrics.csv.
    card: What card.json holds.
    readme: What README.md holds.
    dtype: 'float16' halves the size of the parameters, 'float32' keeps every bit. BatchNorm's
      statistics are float32 in both: they are few, and a variance below 6e-5 has only some of
      float16's bits.
    replace: Whether a model folder that is there already is replaced.

  Raises:
    UserError: something is there, nothing can be written there, or a number is too large for
      float16.
  """
  if dtype not in ('float16', 'float32'):
    raise UserError(f"dtype is {dtype!r}; it is 'float16' or 'float32'")
  if not is_free(folder) and not (replace and is_model_folder(folder)):
    raise UserError(f'{folder} is there already; choose another folder, or move it away')
  originals = flatten(variables)
  tensors = {name: _rounded(name, array, dtype) for name, array in originals.items()}
  difference, where = max(
    ((_difference(originals[name], tensors[name]), name) for name in tensors), default=(0.0, '')
  )
  with new_folder(folder) as draft:
    safetensors_files.write(draft / WEIGHTS, tensors, {'format': 'flax'})
    checksum = _sha256(draft / WEIGHTS)
    configs.save(config, draft)
    write_json(draft / run_files.ABOUT, {'format': configs.FORMAT, **about, CHECKSUM: checksum})
    if normalization is not None:
      run_files.save_normalization(draft, normalization)
    if rows:
      history.write_rows(draft, rows)
    if card is not None:
      write_json(draft / CARD, card)
    if readme is not None:
      (draft / README).write_text(readme, 'utf-8', newline='\n')
    size = (draft / WEIGHTS).stat().st_size
  return Written(checksum, size, difference, where if difference else '')


def facts_about(
  step: int, data_facts: Mapping[str, Any], chosen: Sequence[float] | None = None
) -> dict[str, Any]:
  """What about.json says beside a run's own.

  Args:
    step: The number of updates that the weights have had.
    data_facts: What the training images are known by, as of `data_facts`.
    chosen: What `thresholds` gives for the run.
  """
  of_labels = {} if chosen is None else {THRESHOLDS: list(chosen)}
  return {STEP: step, _DATA: dict(data_facts), **of_labels}


def without_places(
  config: ConfigDict, about: Mapping[str, Any]
) -> tuple[ConfigDict, dict[str, Any]]:
  """A run's config and about.json without the paths of the machine that it was trained on: data
  are then looked for where they usually are.
  """
  config = config.copy_and_resolve_references().unlock()
  config.data.dir = ''
  if not references.is_named(config.init_from):
    config.init_from = ''
  weights = config.model.get('weights')
  if isinstance(weights, str) and ('/' in weights or '\\' in weights):
    config.model.weights = ''
  return config.lock(), {name: value for name, value in about.items() if name != 'data_source'}


def flatten(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The arrays of 'params' and 'batch_stats' by the path in which '/' joins the names."""
  chosen = {name: variables[name] for name in COLLECTIONS if variables.get(name)}
  flat = traverse_util.flatten_dict(jax.device_get(chosen), sep='/')
  return {name: np.asarray(array) for name, array in flat.items()}


def read_variables(
  run: pathlib.Path, checkpoint: str = 'latest', averaged: bool = False
) -> tuple[dict[str, Any], int]:
  """What the network of a run, or of a model folder, is applied with, on the first device.

  Neither the optimizer nor the devices of the run need be known.

  Args:
    run: The folder of a run, or a model folder, which has one set of weights for any word.
    checkpoint: 'latest', 'best', or a step number as text.
    averaged: Whether to read a run's averages in place of the trained weights. A model folder has
      those that are used.

  Returns:
    (the collections 'params' and 'batch_stats', float32, the step).

  Raises:
    UserError: no checkpoint, no such step, or nothing that can be read.
  """
  if is_model_folder(run):
    return _read_weights(run, checkpoint)
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore_variables(checkpoint, averaged)
  if restored is None:
    if CHECKSUM in run_files.read_about(run):
      raise UserError(f'{run} is a model folder without its {WEIGHTS}; restore that from a copy')
    raise UserError(f"{run} has no '{checkpoint}' checkpoint yet; train it first")
  return restored


def data_facts(run: pathlib.Path) -> dict[str, Any]:
  """What the training images of a run, or of a model folder, are known by, as
  `data.Splits.are_those_of` takes it; {} where that is not known.
  """
  if is_model_folder(run):
    found = run_files.read_about(run).get(_DATA, {})
    return found if isinstance(found, dict) else {}
  with Checkpoints(run, read_only=True) as checkpoints:
    found = checkpoints.facts()
  return {name: found[name] for name in _OF_DATA if name in found}


def thresholds(run: pathlib.Path, checkpoint: str = 'latest') -> tuple[float, ...] | None:
  """The probability of each label at or above which it is predicted, as chosen on the validation
  images with the weights of a checkpoint; None where none were chosen.

  Raises:
    UserError: what the file says are none.
  """
  if is_model_folder(run):
    found = run_files.read_about(run).get(THRESHOLDS)
  else:
    with Checkpoints(run, read_only=True) as checkpoints:
      found = checkpoints.facts(checkpoint).get(THRESHOLDS)
  if found is None:
    return None
  if not (
    isinstance(found, list) and all(type(each) is float and 0 <= each <= 1 for each in found)
  ):
    raise json_files.damaged(run / run_files.ABOUT, f'{THRESHOLDS} is {str(found)[:80]}')
  return tuple(found)


def _read_weights(folder: pathlib.Path, checkpoint: str) -> tuple[dict[str, Any], int]:
  path, about = folder / WEIGHTS, run_files.read_about(folder)
  step = about.get(STEP, 0)
  if type(step) is not int or step < 0:
    raise json_files.damaged(folder / run_files.ABOUT, f'{STEP} is {str(step)[:80]!r}')
  if checkpoint not in ('latest', 'best', str(step)):
    held = f'those of step {step}' if checkpoint.isdecimal() else "'latest' and 'best'"
    raise UserError(
      f'{folder} is a model folder, whose only weights are {held}: '
      f'there is no --checkpoint={checkpoint}'
    )
  tensors = safetensors_files.read(path)
  if CHECKSUM in about and about[CHECKSUM] != _sha256(path):
    again = (
      f'delete {folder}, and the same command downloads it again'
      if references.is_named(references.shown(folder))
      else f'get both again, or take {CHECKSUM} out of {run_files.ABOUT} if you changed the '
      'weights yourself'
    )
    raise UserError(
      f'{path} is not the file that was written with {run_files.ABOUT} (another SHA-256); {again}'
    )
  for name, array in tensors.items():
    parts = name.split('/')
    named = parts[0] in COLLECTIONS and 1 < len(parts) <= _MOST_PARTS
    if not named or array.dtype not in (np.float16, np.float32):
      raise UserError(
        f'{path} is no file of a model folder: it holds {name[:80]!r} of {array.dtype}, where '
        "'params/...' and 'batch_stats/...' of float16 or float32 are"
      )
  device = jax.local_devices()[0]
  arrays = {
    name: jax.device_put(array.astype(np.float32), device) for name, array in tensors.items()
  }
  try:
    found = traverse_util.unflatten_dict(arrays, sep='/')
  except (TypeError, ValueError, AttributeError):  # as of 'params/a' beside 'params/a/b'
    raise UserError(f'{path} is damaged: a tensor has the name of a group of tensors') from None
  return {**{name: {} for name in COLLECTIONS}, **found}, step


def _rounded(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
  """What is written of a variable; raises UserError where float16 is too small for it."""
  if dtype == 'float32' or not name.startswith('params/'):
    return array.astype(np.float32)
  with np.errstate(over='ignore'):
    rounded = array.astype(np.float16)
  if not np.array_equal(np.isfinite(rounded), np.isfinite(array)):
    largest = np.abs(array[np.isfinite(array)]).max()
    raise UserError(
      f'{name} has {largest:.3g}, and float16 ends at 65504; write this model in float32'
    )
  return rounded


def _difference(array: np.ndarray, written: np.ndarray) -> float:
  """The largest difference of two arrays where both are finite."""
  with np.errstate(invalid='ignore'):
    apart = np.abs(array.astype(np.float64) - written.astype(np.float64))
  return float(apart.max(initial=0.0, where=np.isfinite(apart)))


def _sha256(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
