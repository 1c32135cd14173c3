"""Runs that older versions stored are gone on with, evaluated, predicted with and reported.

What is expected of them, the code that made them said itself: see tests/helpers/stored_runs.py.
"""

import csv
import dataclasses
import json
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.predict.predictions import predict
from cifar_jax.report import leaderboard
from cifar_jax.report.report import write_report
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from tests.helpers import stored_runs
from tests.helpers.stored_runs import DATA, FOLDER

# ml_collections imports config files by it.
pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')

SILENT = Progress('silent')
VERSIONS = sorted(path.stem for path in FOLDER.glob('*.zip'))
# A loss, a parameter or a probability is the same on another processor but for rounding.
ROUNDING = {'rtol': 0, 'atol': 1e-5}
# Version and config -> the version that trained it to the same bits and measured it as today:
# d11b29e reported losses with label smoothing, and its `evaluate` knew no `evaluate.last_batch`.
MEASURED_BY = {('d11b29e', 'sam'): '2a66734'}
# d11b29e did not normalize the images that it trained on, which has been mended since; so what it
# began with normalization ends elsewhere.
MENDED = {('d11b29e', 'adam')}


def said_by(version: str) -> dict[str, Any]:
  return json.loads((FOLDER / f'{version}.json').read_text())


def expected_of(version: str, name: str) -> dict[str, Any]:
  expected = said_by(version)['runs'][name]
  other = said_by(MEASURED_BY.get((version, name), version))['runs'][name]
  assert other['digests'] == expected['digests']
  return {**expected, 'evaluate': other['evaluate']}


@dataclasses.dataclass
class Stored:
  """A config's two runs by one version.

  Attributes:
    version: The version that wrote the runs.
    expected: The numbers that are to be measured of the finished run.
    config: The config of today for the same training.
    finished: The folder of the run that was never interrupted.
    resumed: The folder of the run that was interrupted, and has been gone on with.
    closing: What training the interrupted run to its end returned.
  """

  version: str
  expected: dict[str, Any]
  config: ConfigDict
  finished: pathlib.Path
  resumed: pathlib.Path
  closing: dict[str, Any]


@pytest.fixture(scope='module')
def unpacked(tmp_path_factory) -> pathlib.Path:
  """A folder of stored runs, VERSION/CONFIG/{finished,interrupted}."""
  folder = tmp_path_factory.mktemp('stored')
  for version in VERSIONS:
    shutil.unpack_archive(FOLDER / f'{version}.zip', folder / version)
  return folder


def cases() -> list[Any]:
  """Each version with SAM; another rule is read by the same code."""
  return [
    pytest.param(
      (version, name),
      id=f'{version}-{name}',
      marks=pytest.mark.thorough if name != 'sam' else (),
    )
    for name in stored_runs.CONFIGS
    for version in VERSIONS
  ]


@pytest.fixture(scope='module', params=cases())
def stored(request, unpacked, shared_trainers) -> Stored:
  version, name = request.param
  config = configs.load(f'{FOLDER / "config.py"}:{name}', [f'--config.data.dir={DATA}'])
  run = unpacked / version / name / 'interrupted'
  assert not (run / 'summary.json').exists()
  closing = loop.train(config, run, SILENT)
  return Stored(
    version=version,
    expected=expected_of(version, name),
    config=config,
    finished=unpacked / version / name / 'finished',
    resumed=run,
    closing=closing,
  )


def rows_of(run: pathlib.Path) -> list[dict[str, float]]:
  with (run / 'metrics.csv').open(newline='') as file:
    return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


def test_versions_are_stored() -> None:
  assert {'d11b29e', '2a66734'} <= set(VERSIONS)


def test_resumed_as_if_never_interrupted(stored) -> None:
  rows, expected_rows = rows_of(stored.resumed), rows_of(stored.finished)
  for name in ('step', 'epoch', 'learning_rate'):
    assert [row[name] for row in rows] == pytest.approx([row[name] for row in expected_rows])
  assert stored.closing['steps'] == expected_rows[-1]['step']
  key = (stored.version, stored.resumed.parent.name)
  if key in MENDED:
    return
  found, expected = (stored_runs.variables_of(run) for run in (stored.resumed, stored.finished))
  jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, **ROUNDING), found, expected)
  for split, prefix in (('validation', 'val'), ('test', 'test')):
    measured = stored.expected['evaluate'][split]
    assert stored.closing[f'{prefix}_accuracy'] == measured['accuracy']
    np.testing.assert_allclose(stored.closing[f'{prefix}_loss'], measured['loss'], **ROUNDING)
  if key in MEASURED_BY:
    return
  for row, expected_row in zip(rows, expected_rows, strict=True):
    for name in ('train_accuracy', 'val_accuracy'):
      assert row[name] == expected_row[name]
    for name in ('train_loss', 'val_loss'):
      np.testing.assert_allclose(row[name], expected_row[name], **ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize('name', stored_runs.CONFIGS)
@pytest.mark.parametrize('version', VERSIONS)
def test_resumed_to_the_same_bits(version, name, tmp_path, monkeypatch) -> None:
  """In a process of its own with one device, as it was made: programs of another number differ."""
  if (version, name) in MENDED:
    pytest.skip('its arithmetic has been mended since')
  content = said_by(version)
  if content['environment'] != stored_runs.environment():
    pytest.skip('made by another jax or on other processors, which may round otherwise')
  shutil.unpack_archive(FOLDER / f'{version}.zip', tmp_path)
  monkeypatch.setenv('PYTHONPATH', str(FOLDER.parents[2]))
  stored_runs.resume(tmp_path, name, 'interrupted')
  found = stored_runs.digests(stored_runs.variables_of(tmp_path / name / 'interrupted'))
  assert found == content['runs'][name]['digests']


def test_finished_holds_what_was_saved(stored) -> None:
  found = stored_runs.digests(stored_runs.variables_of(stored.finished))
  assert found == stored.expected['digests']


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_finished_is_evaluated(stored, split) -> None:
  found = evaluate(stored.finished, split=split, data_dir=str(DATA))
  expected = dict(stored.expected['evaluate'][split])
  np.testing.assert_allclose(found.pop('loss'), expected.pop('loss'), **ROUNDING)
  assert found == expected


def test_finished_predicts(stored, tmp_path) -> None:
  pictures = [str(tmp_path / name) for name in stored_runs.write_pictures(tmp_path)]
  network = classifier.load(stored.finished)
  found = [dict(classes) for _, classes in predict(network, pictures, top=4)]
  for classes, expected in zip(found, stored.expected['predict'], strict=True):
    probabilities = {entry['class']: entry['probability'] for entry in expected['top']}
    assert classes.keys() == probabilities.keys()
    for name, probability in probabilities.items():
      np.testing.assert_allclose(classes[name], probability, **ROUNDING)


@pytest.mark.thorough
@pytest.mark.parametrize('version', VERSIONS)
def test_finished_is_reported(unpacked, version) -> None:
  pytest.importorskip('matplotlib')
  pytest.importorskip('jinja2')
  page, measured = write_report(unpacked / version / 'sam' / 'finished', data_dir=str(DATA))
  expected = expected_of(version, 'sam')['evaluate']['test']
  assert measured['accuracy'] == expected['accuracy']
  np.testing.assert_allclose(measured['loss'], expected['loss'], **ROUNDING)
  assert 'stored' in page.read_text()  # a tag


def test_finished_is_known_to_have_finished(stored, capsys) -> None:
  summary = json.loads((stored.finished / 'summary.json').read_text())
  summary = configs.current_results(summary, 'summary.json')
  assert loop.train(stored.config, stored.finished, Progress('lines')) == summary
  assert 'has finished' in capsys.readouterr().out


def test_finished_is_compared(unpacked) -> None:
  runs = leaderboard.find_runs(sorted(unpacked.glob('*/sam')))
  finished = [run for run in runs if run.name == 'finished']
  assert len(finished) == len(VERSIONS)
  for run in finished:
    expected = expected_of(run.parents[1].name, run.parent.name)['evaluate']['test']
    assert leaderboard.describe(run)['test_accuracy'] == expected['accuracy']
