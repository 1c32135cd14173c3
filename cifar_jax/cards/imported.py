"""A model folder of a file of weights that another program wrote, with a card of what is known."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.cards import card, facts
from cifar_jax.exchange import imports
from cifar_jax.exchange.imports import Model
from cifar_jax.run_dir import model_folder, references
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import is_free, write_json

_DTYPE = 'float32'


def make_model_folder(
  path: pathlib.Path,
  config: ConfigDict,
  folder: pathlib.Path,
  labels: Sequence[str] = (),
  epsilon: float | None = None,
  called: str = '',
) -> Model:
  """Makes a model folder of a file of weights, as if it had been trained here by the config.

  Args:
    path: The file.
    folder: Where; there must be none.
    config: As of `imports.read_model`, as labels and epsilon are.
    called: What the card calls the file; '': by its name.

  Raises:
    UserError: as `imports.read_model`, or the folder is there.
  """
  if not is_free(folder):  # before anything is computed
    raise UserError(f'--workdir={folder} is there already; choose another folder, or move it away')
  model = imports.read_model(path, config, labels, epsilon)
  known = _facts(called or path.name, folder, model)
  model_folder.write(
    folder,
    config=model.config,
    about=model.about,
    variables=model.imported.variables,
    normalization=model.statistics,
    card=known,
    readme=card.text(known, model.config, model.about, card.reference_to(folder)),
    dtype=_DTYPE,
  )
  return model


def add_results(run: pathlib.Path, measured: Mapping[str, Any]) -> bool:
  """Writes what was measured on the test set into the card of a model folder that was imported.

  Args:
    run: Any run or model folder.
    measured: What `predict.evaluate.evaluate` found for the split 'test'.

  Returns:
    Whether it did: not where the card says more already, has been edited, is damaged or cannot be
    written. Nobody who measures a network has asked for a card.
  """
  path, readme = run / model_folder.CARD, run / model_folder.README
  own = model_folder.is_model_folder(run) and not references.is_named(references.shown(run))
  if not own or not path.is_file() or not readme.is_file():
    return False
  try:
    known, reference = facts.read(path), card.reference_to(run)
    if {'trained', 'results'} & known.keys():
      return False
    if readme.read_text('utf-8', 'replace') != card.of_run(run, reference=reference):
      return False
    config = configs.read(run)
    of = f'exactly these weights ({_DTYPE}), computed in {config.model.get("dtype", _DTYPE)}'
    write_json(path, {**known, 'results': [facts.of_test(measured, of, config)]})
    card.write(run, run, reference=reference)
  except UserError:
    return False
  return True


def _facts(called: str, folder: pathlib.Path, model: Model) -> dict[str, Any]:
  """What card.json holds: nothing of a training, of which the file does not tell."""
  about = model.about
  return {
    'format': facts.FORMAT,
    'name': folder.name,
    'network': str(model.config.model.name),
    'parameters': about['parameters'],
    'image_shape': about['image_shape'],
    'classes': len(about['class_names']),
    'data': {'name': about['data']},
    'weights': {'precision': _DTYPE},
    'license': facts.UNKNOWN_LICENSE,
    'remarks': [
      f'The weights were imported from {called} and not trained here: how they were is not '
      'known, nor their accuracy until it is measured. The recipe below is that of the config of '
      'the import, which says what the network and its data are.',
      f'Images are normalized by {model.normalized_by}.',
      *(f'Of {called}: {remark}.' for remark in model.imported.remarks),
    ],
  }
