"""The model card of a run or of a model folder: Markdown with the hub's metadata, and pictures."""

import contextlib
import pathlib
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.cards import facts, markdown
from cifar_jax.cards.metadata import metadata
from cifar_jax.figures import charts, files
from cifar_jax.run_dir import model_folder, references, run_files
from cifar_jax.run_dir.model_folder import CONFUSION, CURVES
from cifar_jax.utils.files import disk_errors, make_folder, replacing

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
  shared, _ = model_folder.without_places(config, about)
  recipe = [line for line in configs.assignments(shared) if not line.startswith(_LEFT_OUT)]
  tags = [str(tag) for tag in config.get('tags', ())]
  names = [str(name) for name in about.get('class_names', ())]
  return (
    f'{metadata(known, tags)}\n{markdown.body(known, names, recipe, reference, pictures or {})}'
  )


def of_run(
  run: pathlib.Path,
  license_id: str | None = None,
  reference: str | None = None,
  pictures: Mapping[str, str] | None = None,
) -> str:
  """The card of a run or of a model folder.

  Args:
    run: The folder.
    license_id: What the hub calls the license of the weights; None: what a card.json says.
    reference: What commands in the card call the model; None: zoo:NAME, hub:OWNER/NAME, or the
      folder, of which this machine's part is left out.
    pictures: Title -> file beside the card.

  Raises:
    UserError: it is neither, or a file of it is damaged.
  """
  known = facts.facts_of(run)
  if license_id:
    known = {**known, 'license': license_id}
  name = reference or reference_to(run)
  return text(known, configs.read(run), run_files.read_about(run), name, pictures)


def reference_to(run: pathlib.Path) -> str:
  """What commands call a run or a model folder, without what is of this machine."""
  name = references.shown(run)
  if references.is_named(name):
    return name
  return shlex.quote(run.name if run.is_absolute() else str(run))


def called_in(content: str) -> str:
  """What commands in a card call the model; '' where there are none."""
  match = re.search(r'^python -m cifar_jax predict (.+) picture\.jpg$', content, re.MULTILINE)
  return match[1] if match else ''


def write(
  run: pathlib.Path,
  folder: pathlib.Path,
  license_id: str | None = None,
  reference: str | None = None,
) -> pathlib.Path:
  """Writes README.md, and what pictures there are, into a folder; returns the path of the card.

  The curves are drawn from metrics.csv; the confusion matrix is that of the run's report, or the
  one beside a model. The other arguments are as for `of_run`.

  Raises:
    UserError: as `of_run`, or nothing can be written there.
  """
  validated_on = facts.facts_of(run).get('data', {}).get('validated_on')
  label = 'test used as validation' if validated_on == facts.TEST_SET else 'validation'
  make_folder(folder)
  pictures = {}
  if rows := run_files.shown_rows(run):
    files.save_figure(charts.curves(rows, 'accuracy', label), folder, 'curves')
    (folder / 'curves.svg').unlink(missing_ok=True)
    pictures['Accuracy over the epochs'] = CURVES
  if (confusion := confusion_of(run)) is not None:
    with disk_errors(folder), contextlib.suppress(shutil.SameFileError):
      shutil.copyfile(confusion, folder / CONFUSION)
    pictures['Confusion matrix on the test set'] = CONFUSION
  content = of_run(run, license_id, reference, pictures)
  path = folder / model_folder.README
  with disk_errors(folder), replacing(path) as draft:
    draft.write_text(content, 'utf-8', newline='\n', errors='replace')
  return path


def confusion_of(run: pathlib.Path) -> pathlib.Path | None:
  """The picture of the confusion matrix on the test set, of the last checkpoint of a run or of a
  model folder; None where none was drawn.
  """
  places = references.report_folder(run) / CONFUSION, run / CONFUSION
  return next((path for path in places if path.is_file()), None)
