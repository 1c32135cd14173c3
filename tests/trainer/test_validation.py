"""What a run measures: every example once, on which images, and when."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cifar_jax import commands, data, models
from cifar_jax.analysis import scores
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.report import leaderboard
from cifar_jax.run_dir import run_files
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import write_json
from tests.helpers.runs import SILENT, changed, rows_of, state_of
from tests.helpers.tiny import LINEAR, ONE_LAYER

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture
def linear(tiny_config):
  return changed(tiny_config, **LINEAR)


@pytest.mark.parametrize(
  'options',
  [pytest.param({}, marks=pytest.mark.thorough), {'loss.label_smoothing': 0.4}],
  ids=str,
)
def test_evaluate_counts_every_example_once(tiny_config, tmp_path, options) -> None:
  """Against NumPy over the whole split at once: 90 examples in batches of 512 leave most of a batch
  masked. The loss is the plain cross-entropy whatever was minimized, wherever it is told.
  """
  tiny_config = changed(tiny_config, epochs=1, **ONE_LAYER, **options)
  results = loop.train(tiny_config, tmp_path, SILENT)
  state = state_of(tiny_config, tmp_path)
  test = data.load(tiny_config.data).test
  module = models.create(tiny_config.model, 4)
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  logits = module.apply(variables, jnp.asarray(test.images / 255, jnp.float32), train=False)
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, test.labels)
  found = evaluate(tmp_path)
  assert found['accuracy'] == np.mean(np.argmax(logits, -1) == test.labels)
  assert found['loss'] == pytest.approx(float(np.mean(losses)), rel=1e-6)
  assert found['examples'] == 90
  assert results['test_loss'] == found['loss']
  network = classifier.load(tmp_path)
  reported = scores.cross_entropy(network.probabilities(test.images), test.labels)
  assert reported == pytest.approx(found['loss'], rel=1e-5)
  validation = evaluate(tmp_path, split='validation')['loss']
  assert validation == pytest.approx(float(rows_of(tmp_path)[-1]['val_loss']), rel=1e-6)


def test_validation_on_whole_batches_only(linear, tmp_path) -> None:
  """As old articles counted it: 20 images are two batches of 8, and the last four are left out."""
  config = changed(linear, batch_size=8, epochs=1, **{'evaluate.drop_remainder': True})
  results = loop.train(config, tmp_path, SILENT)
  assert 16 * results['val_accuracy'] == pytest.approx(round(16 * results['val_accuracy']))
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  part = data.limit_validation_batches(splits, config).validation
  np.testing.assert_array_equal(part.labels, splits.validation.labels[:16])
  np.testing.assert_array_equal(part.images, splits.validation.images[:16])
  assert evaluate(tmp_path)['accuracy'] == pytest.approx(results['test_accuracy'])  # of all 90
  with pytest.raises(UserError, match=r'drop_remainder=True leaves none of the 20 .*batch_size=32'):
    loop.train(changed(config, batch_size=32), tmp_path / 'none', SILENT)
  assert not (tmp_path / 'none').exists()


def test_test_used_as_validation_is_said_wherever_accuracy_is(linear, tmp_path, capsys) -> None:
  config = changed(linear, epochs=1, **{'data.validation': 'test'})
  results = loop.train(config, tmp_path, Progress('lines'))
  lines = capsys.readouterr().out.splitlines()
  for line in lines:
    if 'acc' in line and 'loss' in line:
      assert '[test used as validation]' in line
  assert results['split_note'] == 'test used as validation'
  assert results['val_accuracy'] == results['test_accuracy']
  assert 'test used as validation' in evaluate(tmp_path)['data']


def test_the_test_set_stays_unopened(linear, tmp_path, capsys) -> None:
  """All but the last look is that of a run which opens it; who asks for that look has it."""
  config = changed(linear, epochs=1)
  opened = loop.train(config, tmp_path / 'opened', SILENT)
  capsys.readouterr()
  run = tmp_path / 'closed'
  results = loop.train(changed(config, **{'evaluate.test': False}), run, Progress('lines'))
  printed = capsys.readouterr().out
  assert results['test_opened'] is False
  assert results['split_note'] == 'test set not opened'
  assert not {'test_loss', 'test_accuracy'} & results.keys()
  assert '90 test images, not opened' in printed
  assert f'validation accuracy {100 * results["val_accuracy"]:.2f} % [test set not op' in printed
  assert rows_of(run) == rows_of(tmp_path / 'opened')
  assert run_files.read_summary(run) == results
  assert 'test_accuracy' not in leaderboard.describe(run)
  loop.train(changed(config, **{'evaluate.test': False}), run, Progress('lines'))
  assert 'has finished' in capsys.readouterr().out
  commands.main(['evaluate', str(run)])
  assert capsys.readouterr().out.startswith(f'validation loss {results["val_loss"]:.4f}, ')
  assert evaluate(run)['accuracy'] == opened['test_accuracy']
  for name in ('test_loss', 'test_accuracy'):
    lost = dict(opened)
    del lost[name]
    write_json(run / run_files.SUMMARY, {'format': 2, **lost})
    with pytest.raises(UserError, match=f'summary.json is damaged .it has no {name}'):
      run_files.read_summary(run)


def test_what_would_open_it_anyway_is_refused(linear, tmp_path) -> None:
  config = changed(linear, **{'evaluate.test': False, 'data.validation': 'test'})
  with pytest.raises(UserError, match="validation='test' validates on the test set, which --con"):
    loop.train(config, tmp_path / 'run', SILENT)
  assert not (tmp_path / 'run').exists()


def test_validation_only_at_the_end(linear, tmp_path, capsys) -> None:
  config = changed(linear, **{'evaluate.every_epochs': 0})
  results = loop.train(config, tmp_path, Progress('lines'))
  rows = rows_of(tmp_path)
  assert [row['val_accuracy'] for row in rows[:2]] == ['nan', 'nan']
  assert results['best_epoch'] == 3
  assert results['val_accuracy'] == results['best_val_accuracy'] == float(rows[2]['val_accuracy'])
  assert capsys.readouterr().out.count('val_acc') == 1
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.best() == 18
