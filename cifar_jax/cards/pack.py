"""Makes an entry of the zoo of a trained run: a model folder with all that is known of it."""

import csv
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.augment.normalize import Statistics
from cifar_jax.cards import card, facts
from cifar_jax.optim import averaging
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.predict.run_data import load_known
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.run_dir.run_files import shown_rows
from cifar_jax.trials import statistics
from cifar_jax.utils.errors import UserError
from cifar_jax.zoo import entries

LICENSE = 'apache-2.0'
SAMPLE = 500  # of the first test images, which tests predict again
_TERMS: Mapping[str, str] = {
  'cifar10': (
    'CIFAR-10 is published by its authors without a license text; they ask to cite "Learning '
    'Multiple Layers of Features from Tiny Images" (Alex Krizhevsky, 2009).'
  ),
  'synthetic': 'The images are drawn by this package, under its own license.',
}


@dataclasses.dataclass(frozen=True)
class Said:
  """What no file of a run says.

  Attributes:
    name: What the entry is called.
    purpose: What it is for, a sentence.
    hardware: What it was trained on; '' takes what the run noted.
    results: A folder of measured tables, in which other runs of the recipe are looked for.
  """

  name: str
  purpose: str
  hardware: str = ''
  results: pathlib.Path | None = None


def pack(
  run: pathlib.Path,
  said: Said,
  checkpoint: str = 'latest',
  dtype: str = 'float16',
  data_dir: str | None = None,
  folder: pathlib.Path = entries.FOLDER,
) -> pathlib.Path:
  """Writes a run as an entry, measured as it is written.

  The weights are rounded, computed in float32, and measured on the whole test set. An entry of that
  name is replaced.

  Args:
    run: A finished run.
    said: What no file of the run says.
    checkpoint: 'latest', 'best' or a step number.
    dtype: 'float16' or 'float32', of the parameters.
    data_dir: Where the data are, if they have moved since the training.
    folder: Where entries are.

  Raises:
    UserError: the run has not finished, its data are not there, or the entries would become too
      large.
  """
  if not said.name.replace('_', '').replace('-', '').isalnum() or not said.name.isascii():
    raise UserError(f'--name={said.name}: a name has letters, digits, - and _ alone')
  if not run_files.read_summary(run):
    raise UserError(f'{run} has not finished; an entry of the zoo is a finished run')
  config, about, variables, normalization = parts_of(run, checkpoint)
  config = config.copy_and_resolve_references().unlock()
  if 'dtype' in config.model:
    config.model.dtype = 'float32'
  config.lock()

  def write(into: pathlib.Path, **more: Any) -> model_folder.Written:
    return model_folder.write(
      into,
      config=config,
      about=about,
      variables=variables,
      normalization=normalization,
      rows=shown_rows(run),
      dtype=dtype,
      replace=True,
      **more,
    )

  with tempfile.TemporaryDirectory() as temporary:
    draft = pathlib.Path(temporary, said.name)
    written = write(draft)
    measured = evaluate(draft, split='test', data_dir=data_dir)
    sample = _sample(draft, data_dir)
    known = _facts(run, draft, said, written, measured, sample, dtype)
  text = card.text(known, config, about, f'{entries.PREFIX}{said.name}')
  place = folder / said.name
  others = sum(
    path.stat().st_size
    for path in folder.glob('*/*')
    if path.is_file() and path.parent.name not in ('__pycache__', said.name)
  )
  if others + written.bytes > entries.MOST_BYTES:
    raise UserError(
      f'{said.name} has {written.bytes:,} bytes and the other entries {others:,}: more than the '
      f'{entries.MOST_BYTES:,} of the zoo'
    )
  write(place, card=known, readme=text)
  return place


def parts_of(
  run: pathlib.Path, checkpoint: str
) -> tuple[ConfigDict, dict[str, Any], dict[str, Any], Statistics | None]:
  """What a model folder of a run holds, without the paths of this machine: its config, about.json,
  variables and normalization.

  Raises:
    UserError: the run has no such checkpoint, or cannot be read.
  """
  config, about = configs.read(run), run_files.read_about(run)
  averaged = averaging.is_evaluated(config.weight_averaging)
  variables, step = model_folder.read_variables(run, checkpoint, averaged)
  normalize = run_files.load_normalization(run, config.data)
  about |= model_folder.facts_about(
    step, model_folder.data_facts(run), model_folder.thresholds(run, checkpoint)
  )
  config, about = model_folder.without_places(config, about)
  return config, about, variables, normalize if isinstance(normalize, Statistics) else None


def _facts(
  run: pathlib.Path,
  draft: pathlib.Path,
  said: Said,
  written: model_folder.Written,
  measured: Mapping[str, Any],
  sample: Mapping[str, int],
  dtype: str,
) -> dict[str, Any]:
  found = facts.facts_of(run)
  config = configs.read(draft)
  of = f'exactly these weights ({dtype}), computed in float32'
  trained = found['trained']
  if said.hardware:
    trained['hardware'] = said.hardware
  others = known_results(said.results, trained) if said.results else []
  return {
    **found,
    'name': said.name,
    'purpose': said.purpose,
    'results': [facts.of_test(measured, of, config)],
    **({'other_runs': others} if others else {}),
    'weights': facts.of_weights(written, dtype),
    'sample': dict(sample),
    'license': LICENSE,
    'data_terms': _TERMS.get(config.data.name, 'See the terms of the data set.'),
  }


def _sample(draft: pathlib.Path, data_dir: str | None) -> dict[str, int]:
  """How many of the first test images are recognized."""
  network = classifier.load(draft)
  test = load_known(draft, network.config, 'test', data_dir).test
  count = min(SAMPLE, len(test))
  found = network.probabilities(test.images[:count]).argmax(1)
  right = network.task.is_right(found, test.labels[:count])
  return {'examples': count, 'correct': int(np.sum(right))}


def known_results(folder: pathlib.Path, trained: Mapping[str, Any]) -> list[dict[str, Any]]:
  """What measured tables say of the recipe of a run: seeds, mean and standard deviation of the test
  accuracy, one entry for each way of computing.

  Args:
    folder: Where time_to_accuracy.csv and reproduction.csv are.
    trained: The facts of the training.
  """
  name = trained.get('config', '')
  groups: dict[tuple[str, str], dict[str, float]] = {}
  for row in _rows(folder / 'time_to_accuracy.csv'):
    if pathlib.PurePosixPath(row['config']).stem == name:
      key = row['overrides'], row['devices']
      groups.setdefault(key, {})[row['seed']] = float(row['test_accuracy'])
  found = []
  for (options, devices), seeds in groups.items():
    summary = statistics.summarize(list(seeds.values()))
    found.append(
      {
        'n': summary.n,
        'mean': round(summary.mean, 6),
        'sd': None if math.isnan(summary.sd) else round(summary.sd, 6),
        'of': '; '.join(filter(None, [options, devices])),
        'table': 'results/time_to_accuracy.csv',
      }
    )
  for row in _rows(folder / 'reproduction.csv'):
    same = row['our_epochs'] == str(trained.get('epochs'))
    if row['system'] == name and row['our_accuracy'] and same:
      spread = row['our_std']
      found.append(
        {
          'n': int(row['n']),
          'mean': float(row['our_accuracy']) / 100,
          'sd': float(spread) / 100 if spread else None,
          'of': f'{row["our_precision"]}; {row["our_hardware"]}',
          'table': 'results/reproduction.csv',
        }
      )
  return sorted(found, key=lambda each: -each['n'])


def _rows(path: pathlib.Path) -> Iterator[dict[str, str]]:
  if path.is_file():
    with path.open(encoding='utf-8', newline='') as file:
      yield from csv.DictReader(file)
