"""The model card of a run or of a model folder: Markdown with the hub's metadata, and pictures."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.cards import facts, markdown
from cifar_jax.cards.metadata import metadata
from cifar_jax.figures import charts, files
from cifar_jax.run_dir import model_folder, references, run_files
from cifar_jax.utils.files import disk_errors, make_folder, replacing

CURVES, CONFUSION = 'curves.png', 'confusion.png'  # beside the card
# Not of what was learned, but of where and how it was watched.
_LEFT_OUT = ('config.data.dir ', 'config.tensorboard ', 'config.tags ', 'config.checkpoint.')


def text(
  known: Mapping[str, Any],
  config: ConfigDict,
  about: Mapping[str, Any],
  reference: str,
  pictures: Mapping[str, str] | None = None,
) -> str:
  """A card.

  Args:
    known: As of `facts.facts_of`.
    config: The config of the run.
    about: Its about.json.
    reference: What commands call the model.
    pictures: Title -> file beside the card.
  """
  recipe = [line for line in configs.assignments(config) if not line.startswith(_LEFT_OUT)]
  tags = [str(tag) for tag in config.get('tags', ())]
  names = [str(name) for name in about.get('class_names', ())]
  return (
    f'{metadata(known, tags)}\n{markdown.body(known, names, recipe, reference, pictures or {})}'
  )


def of_run(run: pathlib.Path, license_id: str | None = None) -> str:
  """The card of a run or of a model folder, without pictures.

  Args:
    run: The folder.
    license_id: What the hub calls the license of the weights; None: what a card.json says.

  Raises:
    UserError: it is neither, or a file of it is damaged.
  """
  return _text_of(run, license_id, facts.shown_name(run), {})


def write(
  run: pathlib.Path,
  folder: pathlib.Path,
  license_id: str | None = None,
  reference: str | None = None,
) -> pathlib.Path:
  """Writes README.md, and the pictures that there are, into a folder; returns the path of the card.

  Args:
    run: The folder of a run, or a model folder.
    folder: Where to write; it is made if missing.
    license_id: As for `of_run`.
    reference: What commands call the model; None: what they call the folder.

  The curves are drawn from metrics.csv; the confusion matrix is that of the run's report.

  Raises:
    UserError: as `of_run`, or nothing can be written there.
  """
  make_folder(folder)
  pictures = {}
  rows = run_files.shown_rows(run)
  if rows:
    figure = charts.curves(rows, 'accuracy', 'validation')
    files.save_figure(figure, folder, 'curves')
    (folder / 'curves.svg').unlink(missing_ok=True)
    pictures['Accuracy over the epochs'] = CURVES
  confusion = references.report_folder(run) / CONFUSION
  if confusion.is_file():
    with disk_errors(folder):
      shutil.copyfile(confusion, folder / CONFUSION)
    pictures['Confusion matrix on the test set'] = CONFUSION
  content = _text_of(run, license_id, reference or facts.shown_name(run), pictures)
  path = folder / model_folder.README
  with disk_errors(folder), replacing(path) as draft:
    draft.write_text(content, 'utf-8', newline='\n', errors='replace')
  return path


def _text_of(
  run: pathlib.Path, license_id: str | None, reference: str, pictures: Mapping[str, str]
) -> str:
  known = facts.facts_of(run)
  if license_id:
    known = {**known, 'license': license_id}
  return text(known, configs.read(run), run_files.read_about(run), reference, pictures)
