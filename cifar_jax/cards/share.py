"""What is passed on of a run: a model folder with a card, made for it where the run is none."""

import pathlib
import shutil
from typing import Any

from cifar_jax import config as configs
from cifar_jax.cards import card, facts, pack
from cifar_jax.run_dir import history, hub, model_folder, references, run_files
from cifar_jax.run_dir.hub import Address
from cifar_jax.run_dir.run_files import shown_rows
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, write_json


def prepare(
  run: pathlib.Path,
  folder: pathlib.Path,
  address: Address,
  checkpoint: str = 'latest',
  dtype: str | None = None,
  license_id: str | None = None,
) -> None:
  """Writes into a folder what is uploaded of a run.

  A model folder goes as it is, with a card where it has none, has another license, or is called by
  its place on this machine in it; of a run one is written, with no path of this machine in it.

  Args:
    run: The folder of a finished run, or a model folder.
    folder: Where to; nothing is there.
    address: Where it will be, which the card says.
    checkpoint: 'latest', 'best' or a step number.
    dtype: 'float16' or 'float32', of the parameters of a run; None: float32.
    license_id: What the hub calls the license of the weights; None: what a card.json says.

  Raises:
    UserError: the run has not finished, cannot be read or has no such checkpoint, or a dtype is
      given for a model folder.
  """
  is_model = model_folder.is_model_folder(run)
  known = (_copy if is_model else _make)(run, folder, checkpoint, dtype)
  if license_id:
    known['license'] = license_id
  if license_id or not is_model or _needs_card(folder):
    with disk_errors(folder):
      write_json(folder / model_folder.CARD, known)
    card.write(folder, folder, reference=f'{hub.PREFIX}{address.repository}')


def _needs_card(folder: pathlib.Path) -> bool:
  """Whether a model folder has no README.md, or the one of its import, with commands for that
  place; what somebody has written into it is left.
  """
  try:
    text = (folder / model_folder.README).read_text('utf-8')
  except FileNotFoundError:
    return True
  except (OSError, UnicodeDecodeError):
    return False
  called = card.called_in(text)
  return not references.is_named(called) and text == card.of_run(folder, reference=called)


def _copy(
  run: pathlib.Path, folder: pathlib.Path, checkpoint: str, dtype: str | None
) -> dict[str, Any]:
  """Copies a model folder that can be read; returns its facts."""
  if dtype:
    raise UserError(f'{run} is a model folder, whose weights are uploaded as they are: no --dtype')
  pack.parts_of(run, checkpoint)  # what is damaged is not for others
  known = facts.facts_of(run)
  with disk_errors(folder):
    folder.mkdir()
    for name in hub.files_of(run):
      shutil.copyfile(run / name, folder / name)
  return known


def _make(
  run: pathlib.Path, folder: pathlib.Path, checkpoint: str, dtype: str | None
) -> dict[str, Any]:
  """Writes a model folder of a run; returns the facts about it."""
  if not run_files.read_summary(run):
    configs.read(run)  # says where there is no run at all
    raise UserError(f'{run} has not finished; what is shared is a finished run')
  config, about, variables, normalization = pack.parts_of(run, checkpoint)
  precision = dtype or 'float32'
  written = model_folder.write(
    folder,
    config=config,
    about=about,
    variables=variables,
    normalization=normalization,
    rows=shown_rows(run),
    dtype=precision,
  )
  known = _of_checkpoint(run, about[model_folder.STEP], folder)
  if written.largest_difference:
    for result in known.get('results', ()):
      result['of'] += f', before its parameters were rounded to {precision}'
  return {**known, 'weights': facts.of_weights(written, precision)}


def add_card(run: pathlib.Path, folder: pathlib.Path, reference: str) -> None:
  """Adds what is for readers to a model folder made of a checkpoint of a run, or of another
  model folder, in float32: card.json, README.md with its pictures, and metrics.csv.

  Args:
    folder: The model folder, without a card.
    reference: What commands in the card call it.

  Raises:
    UserError: a file of either is damaged, or nothing can be written there.
  """
  about = run_files.read_about(folder)
  known = _of_checkpoint(run, about[model_folder.STEP], folder)
  with disk_errors(folder):
    known['weights'] = {
      **known.get('weights', {}),  # how far they are from the trained ones, if it was of others
      'precision': 'float32',
      'bytes': (folder / model_folder.WEIGHTS).stat().st_size,
      'sha256': about[model_folder.CHECKSUM],
    }
    if rows := shown_rows(run):
      history.write_rows(folder, rows)
    write_json(folder / model_folder.CARD, known)
  card.write(folder, folder, reference=reference)


def _of_checkpoint(run: pathlib.Path, step: int, folder: pathlib.Path) -> dict[str, Any]:
  """The facts of a run without results of other weights than those of a step; if they are of these,
  the folder gets the confusion matrix too.
  """
  known = facts.facts_of(run)
  if step != known.get('trained', {}).get('steps'):
    known.pop('results', None)  # they are those of the weights after the last update
  elif (confusion := card.confusion_of(run)) is not None:
    with disk_errors(folder):
      shutil.copyfile(confusion, folder / model_folder.CONFUSION)
  return known
