"""The report of a run: one page with everything about it, and the same pictures as files."""

import json
import math
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax import run_summary, summary, tracing, trained
from cifar_jax.progress import duration
from cifar_jax.report import charts, files, glimpses, pixels, scores
from cifar_jax.report.extras import require
from cifar_jax.writers import read_rows

_CONFUSIONS, _EXAMPLES = 6, 8


def write_report(
  run: pathlib.Path,
  checkpoint: str = 'latest',
  split: str = 'test',
  data_dir: str | None = None,
  mistakes: int = 24,
  image: int = 0,
) -> tuple[pathlib.Path, dict[str, float]]:
  """Writes RUN/report/index.html and its pictures.

  Args:
    run: folder of the run.
    checkpoint: 'latest', 'best' or a step number.
    split: 'test', 'validation' or 'train'; what the network is judged on.
    data_dir: in place of the config's data.dir.
    mistakes: how many to show; -1 for all.
    image: place in the split of the image whose feature maps are shown.

  Returns:
    The page, and loss and accuracy as measured for it.

  Raises:
    UserError: no run or checkpoint there, no data, a package is missing, the folder cannot be
      written.
  """
  require('look', 'matplotlib', 'sklearn', 'jinja2', 'PIL')
  network = trained.load(run, checkpoint, data_dir)
  splits = trained.load_splits(network.config, data_dir)
  chosen = getattr(splits, split)
  folder = files.make_folder(run / 'report')
  probabilities = network.probabilities(chosen.images)
  rows = read_rows(run)
  matrix = scores.confusion(chosen.labels, probabilities.argmax(1), splits.num_classes)
  report = scores.class_report(matrix, splits.class_names)
  calibration = scores.calibration(probabilities, chosen.labels)
  wrong = scores.mistakes(probabilities, chosen.labels)
  accuracy = float(np.trace(matrix) / matrix.sum())
  loss = trained.prediction_loss(probabilities, chosen.labels)
  epoch = _epoch(rows, network.step)
  records = tracing.trace(network.module, network.image_shape, 'softmax')
  finished = run_summary.read(run)
  remark = run_summary.remark(splits)

  def figure(name: str, drawn: Any) -> Any:
    (markupsafe,) = require('look', 'markupsafe')
    return markupsafe.Markup(files.save_figure(drawn, folder, name))

  gallery = [
    {
      'image': pixels.data_uri(pixels.png(chosen.images[index])),
      'title': scores.mistake_title(
        epoch,
        splits.class_names[probabilities[index].argmax()],
        splits.class_names[chosen.labels[index]],
      ),
      'scores': scores.score_lines(probabilities[index], chosen.labels[index], splits.class_names),
    }
    for index in (wrong if mistakes < 0 else wrong[:mistakes])
  ]
  if len(wrong):
    shown = list(chosen.images[wrong[: max(mistakes, 0) or 24]])
    pixels.save(pixels.enlarge(pixels.grid(shown, 8), 3), folder / 'mistakes.png')
  content = {
    'title': f'{run.resolve().name} on {splits.name}',
    'subtitle': (
      f'{splits.validation_label if split == "validation" else split} split, {len(chosen)} images, '
      f'checkpoint of step {network.step} (epoch {epoch})'
    ),
    'remark': remark,
    'tiles': [
      (f'{100 * accuracy:.2f} %', f'{split} accuracy'),
      (f'{loss:.4f}', f'{split} loss (cross-entropy)'),
      (f'{100 * calibration.error:.2f} %', 'expected calibration error'),
      (f'{len(wrong):,}', f'mistakes of {len(chosen):,}'),
      (f'{sum(record.parameters for record in records):,}', 'parameters'),
      (str(len(records)), 'layers'),
      *_times(rows, finished),
    ],
    'overfitting': scores.overfitting(rows),
    'curves': [
      figure('accuracy', charts.curves(rows, 'accuracy', splits.validation_label)),
      figure('loss', charts.curves(rows, 'loss', splits.validation_label)),
      figure(
        'learning_rate', charts.over_epochs(rows, 'learning_rate', 'Learning rate, end of epoch')
      ),
      figure(
        'images_per_second', charts.over_epochs(rows, 'images_per_second', 'Images per second')
      ),
    ]
    if rows
    else [],
    'heat_map': figure('confusion', charts.heat_map(matrix, splits.class_names)),
    'matrix': scores.matrix_text(matrix, splits.class_names),
    'confusions': [
      {
        'true': splits.class_names[true],
        'predicted': splits.class_names[predicted],
        'count': count,
        'images': [
          pixels.data_uri(pixels.png(chosen.images[index]))
          for index in wrong
          if chosen.labels[index] == true and probabilities[index].argmax() == predicted
        ][:_EXAMPLES],
      }
      for true, predicted, count in scores.worst_confusions(matrix, _CONFUSIONS)
    ],
    'class_chart': figure(
      'classes',
      charts.class_bars(
        [report[name]['recall'] for name in splits.class_names],
        splits.class_names,
        'Accuracy by class (%)',
      ),
    ),
    'class_report': report,
    'mistakes': gallery,
    'reliability': figure('reliability', charts.reliability(calibration)),
    'confidence_remark': _confidence(calibration, accuracy),
    **glimpses.glimpses(network, chosen, probabilities, image, folder),
    'ascii': summary.keras_ascii(records),
    'table': summary.keras_table(records),
    'arrays': summary.parameter_overview(network.variables),
    'graph': figure('network', charts.network(records, network.image_shape)),
    'command': _command(run, finished),
    'environment': _environment(finished),
    'config': network.config.to_json(indent=2),
  }
  files.write_page(folder / 'index.html', 'report.html', content)
  measured = {'loss': loss, 'accuracy': accuracy, 'calibration_error': calibration.error}
  with files.disk_errors(folder):
    (folder / 'scores.json').write_text(
      json.dumps(
        {**measured, 'classes': report, 'confusion': matrix.tolist(), 'step': network.step},
        indent=2,
      )
      + '\n'
    )
    (folder / 'confusion.txt').write_text(content['matrix'] + '\n', encoding='utf-8')
  return folder / 'index.html', measured


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
  speeds = sorted(row['images_per_second'] for row in rows)
  if speeds:
    tiles.append((f'{speeds[len(speeds) // 2]:,.0f}', 'images per second'))
  return tiles


def _confidence(found: scores.Calibration, accuracy: float) -> str:
  weights = found.counts / max(found.counts.sum(), 1)
  mean = float(np.nansum(found.confidence * weights))
  word = 'over' if mean > accuracy else 'under'
  return (
    f'the mean confidence is {100 * mean:.2f} %, the accuracy {100 * accuracy:.2f} %, so the '
    f'network is {word}confident by {100 * abs(mean - accuracy):.2f} points on average.'
  )


def _command(run: pathlib.Path, finished: Mapping[str, Any]) -> str:
  command = finished.get('command')
  lines = [f'python {command}'] if command else []
  return '\n'.join([*lines, f'python -m cifar_jax evaluate {shlex.quote(str(run))}'])


def _environment(finished: Mapping[str, Any]) -> list[tuple[str, Any]]:
  names = (
    *('seed', 'devices', 'processor', 'python', 'jax', 'flax', 'optax', 'orbax-checkpoint'),
    *('xla_flags', 'data_source', 'peak_memory_mb', 'tags'),
  )

  def text(value: Any) -> Any:
    return f'{value:,.0f}' if isinstance(value, float) and math.isfinite(value) else value

  return [(name, text(finished[name])) for name in names if finished.get(name) not in (None, '')]
