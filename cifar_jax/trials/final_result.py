"""What a final measured: final.json, and how it is told."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax import config as configs
from cifar_jax.data.preprocessing import FILE_SOURCES
from cifar_jax.run_dir import run_files
from cifar_jax.trials import differences, repeat, statistics, test_looks
from cifar_jax.trials.final import BASELINE, BEST, COLUMN, FORMAT, RESULT, Final
from cifar_jax.trials.groups import MEASURED, Group
from cifar_jax.trials.repeat import SeedRun
from cifar_jax.utils import json_files
from cifar_jax.utils.files import write_json

_SIZE = ('image_size', 'resize', 'interpolation')  # how the same image files become other arrays


def conclude(final: Final, runs: Mapping[str, Sequence[SeedRun]]) -> dict[str, Any]:
  """Writes final.json, once all runs have finished or failed, and returns its content."""
  groups = {name: _group(name, side) for name, side in runs.items()}
  content: dict[str, Any] = {
    'format': FORMAT,
    'created': final.created,
    'number': final.number,
    **final.asked(),
    'column': COLUMN,
    'sides': {name: _side(final, name, side, groups[name]) for name, side in runs.items()},
    'difference': None,
    'sentences': [],
  }
  if BASELINE in groups and not _on_same_images(final, groups):
    content['sentences'] = [
      'the two sides were on different images (data_fingerprint in about.json, data.dir in '
      'config.json), so they cannot be compared: --again --against=CONFIG names another'
    ]
  elif BASELINE in groups:
    (found,) = differences.compare([groups[BASELINE], groups[BEST]], COLUMN)
    content['difference'] = _plain(dataclasses.asdict(found.difference))
    content['sentences'] = differences.sentences(found, COLUMN)
  elif final.nothing_better:
    content['sentences'] = ['the best config is the baseline itself: the search found none better']
  else:
    content['sentences'] = ['there is no baseline to compare it with: --against=CONFIG names one']
  write_json(final.study / RESULT, content)
  return content


def tell(study: pathlib.Path, content: Mapping[str, Any]) -> list[str]:
  """What final.json says, in lines.

  Raises:
    UserError: The file is none of a final.
  """
  lines = []
  with json_files.expected_in(study / RESULT):
    for name, side in content['sides'].items():
      summary = {part: side[COLUMN][part] for part in ('n', 'mean', 'sd', 'low', 'high')}
      lines.append(f'{name:9s}  {COLUMN.replace("_", " ")} {_summed(summary)}')
      lines += [f'{"":9s}  seed {seed} failed: {why}' for seed, why in side['failed'].items()]
    head, *rest = content['sentences']
  return [*lines, '', head, *(f'  {line}' for line in rest), '', test_looks.sentence(study)]


def _group(name: str, runs: Sequence[SeedRun]) -> Group:
  """The runs as `differences` takes them; a failed one has no numbers."""
  rows = []
  for run in runs:
    about = run_files.read_about(run.folder)
    known = {column: run.summary[column] for column in MEASURED if column in run.summary}
    rows.append(
      {
        **{'folder': run.folder, 'run': f'{name}/{run.folder.name}', 'seed': run.seed},
        **{'data': about.get('data_fingerprint', ''), 'state': run.state, **known},
      }
    )
  return Group(name, tuple(rows))


def _on_same_images(final: Final, groups: Mapping[str, Group]) -> bool:
  """Whether all runs had the same data, as far as is known: image files of one folder that one side
  resizes otherwise are the same, though their fingerprints are not.
  """
  if len({row['data'] for group in groups.values() for row in group.rows} - {''}) < 2:
    return True
  best, baseline = (final.sides[name].data for name in (BEST, BASELINE))
  sizes = [[data.get('folder', {}).get(name) for name in _SIZE] for data in (best, baseline)]
  return best.name in FILE_SOURCES and best.dir == baseline.dir and sizes[0] != sizes[1]


def _side(final: Final, name: str, runs: Sequence[SeedRun], group: Group) -> dict[str, Any]:
  found: dict[str, Any] = {
    'config': configs.to_json(final.sides[name]),
    'runs': [run.folder.relative_to(final.study).as_posix() for run in runs],
    'failed': {str(run.seed): run.reason for run in runs if run.state == repeat.FAILED},
  }
  for column in (COLUMN, 'val_accuracy'):
    values = group.values(column)
    summary = dataclasses.asdict(statistics.summarize(list(values.values())))
    found[column] = {**_plain(summary), 'values': _plain(values)}
  return found


def _plain(values: Mapping[Any, Any]) -> dict[str, Any]:
  """With null for what is not a number, as JSON knows none."""
  return {
    str(key): None if isinstance(value, float) and value != value else value
    for key, value in values.items()
  }


def _summed(summary: Mapping[str, Any]) -> str:
  """'71.23 ± 0.31 %, interval 70.85 to 71.61 %, of 5 seeds'."""
  if summary['mean'] is None:
    return 'not known'
  mean = f'{100 * summary["mean"]:.2f}'
  if summary['sd'] is None:
    return f'{mean} % of one seed'
  low, high = (100 * summary[part] for part in ('low', 'high'))
  percent = f'{100 * statistics.CONFIDENCE:.0f} %'
  return (
    f'{mean} ± {100 * summary["sd"]:.2f} %, {percent} interval {low:.2f} to {high:.2f} %, of '
    f'{summary["n"]} seeds'
  )
