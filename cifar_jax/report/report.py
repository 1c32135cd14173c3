"""The report of a run: one page with everything about it, and the same images as files."""

import dataclasses
import math
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax.analysis import layer_table, scores, tracing
from cifar_jax.data import Examples
from cifar_jax.figures import charts, files, interpretability
from cifar_jax.predict import any_set, classifier
from cifar_jax.predict.any_set import OtherSet
from cifar_jax.predict.classifier import Classifier
from cifar_jax.predict.run_data import load_known
from cifar_jax.report.classes import of_classes
from cifar_jax.report.labels import of_labels
from cifar_jax.report.leaderboard import tags
from cifar_jax.run_dir import references, run_files
from cifar_jax.run_dir.progress import duration
from cifar_jax.run_dir.run_files import shown_rows
from cifar_jax.run_dir.timer import images_per_second
from cifar_jax.trainer import run_summary
from cifar_jax.training import multi_label
from cifar_jax.utils.files import disk_errors, make_folder, write_json
from cifar_jax.utils.optional_deps import require


@dataclasses.dataclass(frozen=True)
class _Subject:
  """The images that a report is about.

  Attributes:
    data: The name of the data set.
    split: What `measured` calls the part of it.
    label: What the page calls it.
    examples: The images, with the run's classes.
    note: What must stand beside every number.
    data_note: Whose data these are, where they are not the run's.
    validation: What to call the split that the run validated on.
    folder: The parts of the name of the report's folder; none for the usual one.
  """

  data: str
  split: str
  label: str
  examples: Examples
  note: str
  data_note: str
  validation: str
  folder: tuple[str, ...]


def write_report(
  run: pathlib.Path,
  checkpoint: str = 'latest',
  split: str = 'test',
  data_dir: str | None = None,
  mistakes: int = 24,
  image: int = 0,
) -> tuple[pathlib.Path, dict[str, float]]:
  """Writes RUN/report/index.html and its images, of another split or checkpoint than usual in a
  folder of its own below that, as RUN/report/train or RUN/report/validation_best. Of what comes
  with the package the report is reports/zoo_NAME in the current folder.

  Args:
    checkpoint: 'latest', 'best' or a step number.
    split: 'test', 'validation' or 'train'; what the network is judged on.
    data_dir: The folder of the data in place of the config's data.dir.
    mistakes: How many mistakes are shown; -1 for all.
    image: The index in the split of the image whose feature maps are shown.

  Returns:
    The page, and loss, accuracy and calibration error as measured for it.

  Raises:
    UserError: no run or checkpoint there, no data, a package is missing, the folder cannot be
      written.
  """
  require('report', 'matplotlib', 'jinja2')
  network = classifier.load(run, checkpoint, data_dir)
  splits = load_known(run, network.config, split, data_dir)
  label = splits.validation_label if split == 'validation' else split
  subject = _Subject(
    data=splits.name,
    split=split,
    label=f'{label} split',
    examples=getattr(splits, split),
    note=run_summary.split_note(splits),
    data_note='',
    validation=splits.validation_label,
    folder=() if split == 'test' else (split,),
  )
  return _write(network, subject, checkpoint, mistakes, image)


def write_report_on(
  network: Classifier,
  other: OtherSet,
  checkpoint: str = 'latest',
  mistakes: int = 24,
  image: int = 0,
) -> tuple[pathlib.Path, dict[str, float]]:
  """Writes the page on other data than the run's own, in RUN/report/<name of the data>.

  Args:
    network: The network of the run, of that checkpoint.
    other: The data.
    checkpoint: As for `write_report`, and the others too.

  Returns:
    As `write_report`, which also says what it raises.
  """
  require('report', 'matplotlib', 'jinja2')
  of_run, on_test = any_set.split_note_of(network), 'test used as validation'
  drawn = ', synthetic' if other.synthetic else ''
  subject = _Subject(
    data=other.name,
    split=other.split,
    label=f'{other.split} images of {other.source}',
    examples=other.examples,
    note=of_run if other.own else '',  # it is about the run's own data
    data_note='' if other.own else f'{other.source}{drawn}; {other.classes_line}',
    validation=on_test if on_test in of_run else 'validation',
    folder=(
      re.sub(r'[^\w-]+', '_', other.name),
      *(() if other.split == 'test' else (other.split,)),
    ),
  )
  return _write(network, subject, checkpoint, mistakes, image)


def _write(
  network: Classifier, subject: _Subject, checkpoint: str, mistakes: int, image: int
) -> tuple[pathlib.Path, dict[str, float]]:
  """Writes the page and its images, as `write_report` says."""
  run, chosen = network.run, subject.examples
  rows, finished = shown_rows(run), run_files.read_summary(run)
  epoch = _epoch(rows, network.step)
  parts = [*subject.folder, *([] if checkpoint == 'latest' else [checkpoint])]
  folder = make_folder(references.report_folder(run) / '_'.join(parts))
  if network.thresholds:
    logits = network.logits_of_set(chosen.images)
    probabilities = multi_label.scores_of(logits)
    found = of_labels(network, chosen, logits, subject.split, mistakes, folder)
  else:
    probabilities = network.probabilities_of_set(chosen.images)
    found = of_classes(network, chosen, probabilities, subject.split, mistakes, folder, epoch)
  records = tracing.trace(network.module, network.image_shape, network.task.activation)
  content = {
    'title': f'{run.resolve().name} on {subject.data}',
    'subtitle': (
      f'{subject.label}, {len(chosen)} images, checkpoint of step {network.step} (epoch {epoch})'
    ),
    'split_note': subject.note,
    'data_note': subject.data_note,
    'tiles': [
      *found.tiles,
      (f'{sum(record.parameters for record in records):,}', 'parameters'),
      (str(len(records)), 'layers'),
      *_times(rows, finished),
    ],
    **_training(rows, subject.validation, folder),
    **found.sections,
    **interpretability.inspect_network(network, chosen, probabilities, image % len(chosen), folder),
    'ascii': layer_table.keras_ascii(records),
    'table': layer_table.keras_table(records),
    'arrays': layer_table.parameter_overview(network.variables),
    'graph': files.save_figure(charts.network(records, network.image_shape), folder, 'network'),
    'command': _command(run, finished),
    'environment': _environment({**finished, 'tags': ' '.join(tags(network.config))}),
    'config': network.config.to_json(indent=2),
  }
  files.write_page(folder / 'index.html', 'report.html', content)
  of_page = {'data': subject.data, 'split': subject.split, 'step': network.step}
  write_json(folder / 'scores.json', {**found.measured, **of_page, **found.details})
  with disk_errors(folder):
    for name, text in found.files.items():
      (folder / name).write_text(text, 'utf-8', 'replace')
  return folder / 'index.html', found.measured


def _training(
  rows: Sequence[dict[str, float]], validation: str, folder: pathlib.Path
) -> dict[str, Any]:
  """The curves, and whether there is over-fitting."""
  drawn = {}
  if rows:
    title = 'Mean average precision of validation'
    ranked = {'map': charts.over_epochs(rows, 'val_map', title)} if 'val_map' in rows[0] else {}
    drawn = {
      'accuracy': charts.curves(rows, 'accuracy', validation),
      'loss': charts.curves(rows, 'loss', validation),
      **ranked,
      'learning_rate': charts.over_epochs(rows, 'learning_rate', 'Learning rate, end of epoch'),
    }
  if images_per_second(rows):
    drawn['images_per_second'] = charts.over_epochs(rows, 'images_per_second', 'Images per second')
  return {
    'overfitting': scores.overfitting(rows),
    'curves': [files.save_figure(figure, folder, name) for name, figure in drawn.items()],
  }


def _epoch(rows: Sequence[Mapping[str, float]], step: int) -> int:
  """The epoch that a step ends, or lies in."""
  past = [int(row['epoch']) for row in rows if row['step'] <= step]
  exact = any(row['step'] == step for row in rows)
  return (past[-1] if past else 0) + (0 if exact else 1)


def _times(
  rows: Sequence[Mapping[str, float]], finished: Mapping[str, Any]
) -> list[tuple[str, str]]:
  seconds = finished.get('seconds') or sum(row['epoch_seconds'] for row in rows)
  tiles = [(duration(seconds), 'training time')] if seconds else []
  if speed := images_per_second(rows):
    tiles.append((f'{speed:,.0f}', 'images per second'))
  return tiles


def _command(run: pathlib.Path, finished: Mapping[str, Any]) -> str:
  command = finished.get('command')
  lines = [f'python {command}'] if command else []
  return '\n'.join([*lines, f'python -m cifar_jax evaluate {shlex.quote(references.shown(run))}'])


def _environment(finished: Mapping[str, Any]) -> list[tuple[str, Any]]:
  names = (
    *('seed', 'devices', 'processor', 'python', 'jax', 'flax', 'optax', 'orbax-checkpoint'),
    *('xla_flags', 'data_source', 'peak_memory_mb', 'tags'),
  )

  def text(value: Any) -> Any:
    return f'{value:,.0f}' if isinstance(value, float) and math.isfinite(value) else value

  return [(name, text(finished[name])) for name in names if finished.get(name) not in (None, '')]
