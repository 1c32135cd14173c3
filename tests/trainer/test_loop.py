import json
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.devices import sharding
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.session import Callback
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of
from tests.helpers.tiny import LINEAR, ONE_LAYER

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture
def tiny_config(tiny_config):
  return changed(tiny_config, **ONE_LAYER)


def test_run_folder_has_what_the_readme_promises(tiny_config, tmp_path, monkeypatch) -> None:
  words = ['launch.py', "--config.model.head=('flatten', 'dense 4')"]
  monkeypatch.setattr('sys.argv', words)
  results = loop.train(tiny_config, str(tmp_path), SILENT)
  assert json.loads((tmp_path / 'summary.json').read_text()) == {'format': 2, **results}
  assert json.loads((tmp_path / 'config.json').read_text())['batch_size'] == 30
  assert shlex.split(results['command']) == words  # as a shell reads it
  rows = rows_of(tmp_path)
  assert [row['step'] for row in rows] == ['6', '12', '18']  # 180 / 30 = 6
  assert [row['epoch'] for row in rows] == ['1', '2', '3']
  assert results['steps'] == 18
  assert results['train_examples'] == 180
  assert results['validation_examples'] == 20
  assert results['val_accuracy'] == pytest.approx(float(rows[-1]['val_accuracy']))
  # conv 3x3x3 -> 4 with biases, BatchNorm, dense 64 -> classes
  assert results['parameters'] == 112 + 8 + 65 * 4
  assert results['non_trainable_params'] == 8
  # 8x8 images: the convolution on 64 positions, a map of 4x4 at the end
  assert results['macs'] == 64 * 27 * 4 + 64 * 4
  assert results['flops_per_second'] == pytest.approx(
    6 * results['macs'] * results['images_per_second']
  )
  assert results['mfu'] is None  # no maker states the peak of a CPU


class FolderBeforeUpdates(Callback):
  """Notes whether there are TensorBoard's files before each dispatch."""

  def __init__(self, run) -> None:
    self._folder = run / 'tensorboard'
    self.found: list[bool] = []

  def before_updates(self, session, step) -> None:
    self.found.append(self._folder.exists())


def test_tensorboard_is_imported_after_the_first_dispatch(tiny_config, tmp_path) -> None:
  """So that it takes nothing of the processor while programs are compiled."""
  looks = FolderBeforeUpdates(tmp_path)
  config = changed(tiny_config, tensorboard=True, max_steps=6)
  loop.train(config, tmp_path, SILENT, extra_callbacks=[looks])
  assert not looks.found[0]
  (events,) = (tmp_path / 'tensorboard' / 'train').iterdir()
  assert b'Total' in events.read_bytes()  # the table of parameters


def test_more_epochs_continue_as_if_never_stopped(tiny_config, tmp_path) -> None:
  """Two epochs, then three, by changing `epochs` alone: bit for bit the run of three."""
  for epochs in (2, 3):
    loop.train(changed(tiny_config, epochs=epochs), tmp_path / 'parts', SILENT)
  whole = tiny_config
  loop.train(whole, tmp_path / 'whole', SILENT)
  assert_identical(state_of(whole, tmp_path / 'parts'), state_of(whole, tmp_path / 'whole'))
  assert rows_of(tmp_path / 'parts') == rows_of(tmp_path / 'whole')


def test_finished_run_says_so_and_trains_no_more(tiny_config, tmp_path, capsys) -> None:
  loop.train(tiny_config, tmp_path, SILENT)
  before = (tmp_path / 'summary.json').read_bytes()
  loop.train(tiny_config, tmp_path, Progress('lines'))
  assert 'has finished; --config.epochs=6 would go on' in capsys.readouterr().out
  assert (tmp_path / 'summary.json').read_bytes() == before


def test_fewer_epochs_than_trained_is_an_error(tiny_config, tmp_path) -> None:
  loop.train(tiny_config, tmp_path, SILENT)
  with pytest.raises(UserError, match=r'already trained 3 epochs.*--config\.epochs=1'):
    loop.train(changed(tiny_config, epochs=1), tmp_path, SILENT)


def test_resuming_on_other_data_is_an_error(tiny_config, tiny_data, tmp_path) -> None:
  loop.train(tiny_config, tmp_path / 'run', SILENT)
  with np.load(tiny_data) as arrays:
    shuffled = {name: values[::-1] for name, values in arrays.items()}
  np.savez(tmp_path / 'other.npz', **shuffled)
  other = changed(tiny_config, epochs=4, **{'data.dir': str(tmp_path / 'other.npz')})
  with pytest.raises(UserError, match=r'trained on other data than .*other\.npz holds now'):
    loop.train(other, tmp_path / 'run', SILENT)


def test_another_config_in_the_same_folder_lists_the_differences(tiny_config, tmp_path) -> None:
  loop.train(tiny_config, tmp_path, SILENT)
  other = changed(tiny_config, batch_size=16, **{'model.widths': (4, 4)})
  with pytest.raises(UserError, match=r'batch_size was 30 and is now 16; model\.widths was \(4,\)'):
    loop.train(other, tmp_path, SILENT)


GROWING = {
  'optimizer.name': 'keras_adam',
  'schedule.name': 'piecewise',
  'schedule.boundaries': (1.0,),
  'schedule.factors': (1e33,),
}


def test_nan_stops_at_once_names_the_step_and_keeps_the_last_good_checkpoint(
  tiny_config, tmp_path
) -> None:
  """The rate is 1e30 from the second epoch on: the first of its updates makes the parameters huge,
  the loss of the second is none. What the message advises then works, to the letter.
  """
  bad = changed(tiny_config, **GROWING)
  with pytest.raises(
    UserError, match=r'NaN or infinite in step 8 \(epoch 2\); the checkpoint of step 6 is good: '
  ) as error:
    loop.train(bad, tmp_path / 'run', SILENT)
  message = str(error.value)
  assert 'in another --workdir, with a smaller --config.optimizer.learning_rate or' in message
  assert f'--config.init_from={tmp_path}/run begins it with the best weights' in message
  with Checkpoints(tmp_path / 'run', read_only=True) as checkpoints:
    assert checkpoints.steps() == [6]
  good = state_of(bad, tmp_path / 'run')
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(good.params))
  smaller = {'optimizer.learning_rate': 1e-36, 'init_from': str(tmp_path / 'run')}
  with pytest.raises(UserError, match='holds a run with another config'):
    loop.train(changed(bad, **smaller), tmp_path / 'run', SILENT)
  loop.train(changed(bad, epochs=2, **smaller), tmp_path / 'again', SILENT)
  # Updates of 1e-36 leave weights as they are; the best are those of the first epoch.
  again = state_of(bad, tmp_path / 'again').params
  jax.tree.map(lambda a, g: np.testing.assert_allclose(a, g, atol=0.01), again, good.params)


@pytest.mark.thorough
def test_a_smaller_rate_and_clipped_gradients_avoid_nan(tiny_config, tmp_path) -> None:
  """As that message advises too."""
  better = {'optimizer.gradient_clip_norm': 1.0, 'schedule.factors': (0.1,)}
  loop.train(changed(tiny_config, **{**GROWING, **better}), tmp_path, SILENT)


def test_best_never_evicts_latest(tiny_config, tmp_path) -> None:
  """A rate of 0 after the first epoch's step keeps nothing better: the first epoch stays best,
  resume uses the last.
  """
  config = changed(tiny_config, epochs=4, **{'checkpoint.keep': 1})
  loop.train(config, tmp_path, SILENT)
  rows = rows_of(tmp_path)
  accuracies = [float(row['val_accuracy']) for row in rows]
  best = int(rows[accuracies.index(max(accuracies))]['step'])
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.latest() == 24
    assert checkpoints.best() == best
  assert evaluate(tmp_path, 'best', 'validation')['accuracy'] == max(accuracies)


@pytest.mark.thorough
def test_dropped_last_batch(tiny_config, tmp_path) -> None:
  config = changed(tiny_config, batch_size=32, **{'data.drop_remainder': True})
  results = loop.train(config, tmp_path, SILENT)
  assert results['steps'] == 15  # floor(180 / 32) = 5


def test_hidden_host_copy_fails_loudly(tiny_config, tmp_path, monkeypatch) -> None:
  """A NumPy array among the arguments of a step would be copied to the device each time."""
  original = sharding.replicate

  def forgetful(tree, mesh):
    return (
      tree if isinstance(tree, int) is False and isinstance(tree, tuple) else original(tree, mesh)
    )

  monkeypatch.setattr('cifar_jax.trainer.build.sharding.replicate', forgetful)
  with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
    loop.train(tiny_config, tmp_path, SILENT)


def test_recipe_end_to_end(tiny_config, tmp_path) -> None:
  """Whitening from data, groups, cutout and views together; the frozen kernel stays as it was."""
  config = changed(
    tiny_config,
    epochs=2,
    **{
      'model': ConfigDict(
        {'name': 'airbench_net', 'widths': (8,), 'convolutions': (1,), 'dtype': 'float32'}
      ),
      'whitening.layer': 'whitening',
      'whitening.images': 50,
      'augment.cutout': 2,
      'evaluate.tta': 'flip_translate',
      'optimizer.name': 'sgd',
      'optimizer.learning_rate': 0.5,
      'optimizer.groups': ConfigDict(
        {
          'kernel': {'pattern': 'whitening/kernel', 'frozen_from_epoch': 0.0},
          'bias': {'pattern': 'whitening/bias', 'frozen_from_epoch': 1.0},
          'filters': {'pattern': '.*/Conv_.*', 'name': 'airbench_muon', 'momentum': 0.6},
        }
      ),
    },
  )
  results = loop.train(config, tmp_path, SILENT)
  splits = data.split(data.load(config.data), '20', 'random', config.seed)
  start = build_trainer(config, splits).init().params['whitening']['kernel']
  images = jnp.asarray(splits.train.images[:50] / 255, jnp.float32)
  patches = np.concatenate(
    [images[:, y : 7 + y, x : 7 + x] for y in (0, 1) for x in (0, 1)], axis=-1
  ).reshape(-1, 12)
  responses = patches @ np.asarray(start).reshape(12, 24)
  variance = np.mean(np.square(responses[:, :12]), axis=0)
  eigenvalues = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
  np.testing.assert_allclose(variance, eigenvalues / (eigenvalues + 5e-4), rtol=0.01)
  state = state_of(config, tmp_path)
  np.testing.assert_array_equal(state.params['whitening']['kernel'], start)
  assert np.abs(state.params['whitening']['bias']).max() > 0
  assert evaluate(tmp_path)['accuracy'] == results['test_accuracy']


def test_a_run_that_began_with_a_class_held_out_goes_on(
  tiny_config, tiny_data, tmp_path, monkeypatch
) -> None:
  """As older versions let it begin; a new one is refused, and leaves no folder."""
  with np.load(tiny_data) as arrays:
    order = np.argsort(arrays['y_train'], kind='stable')
    held_out = int((arrays['y_train'] == 3).sum())
    sorted_arrays = {**arrays, 'x_train': arrays['x_train'][order]}
    sorted_arrays['y_train'] = arrays['y_train'][order]
  np.savez(tmp_path / 'sorted.npz', **sorted_arrays)
  config = changed(
    tiny_config,
    **{
      'data.dir': str(tmp_path / 'sorted.npz'),
      'data.validation': str(held_out),
      'data.validation_from': 'last',
      'epochs': 1,
      **LINEAR,
    },
  )
  with pytest.raises(UserError, match=f'validation={held_out} holds out all training images of 3;'):
    loop.train(config, tmp_path / 'new', SILENT)
  assert not (tmp_path / 'new').exists()
  with monkeypatch.context() as older:
    older.setattr(data, 'check_classes_left', lambda *_: None)
    loop.train(config, tmp_path / 'old', SILENT)
  loop.train(changed(config, epochs=2), tmp_path / 'old', SILENT)
  assert [row['epoch'] for row in rows_of(tmp_path / 'old')] == ['1', '2']
  assert evaluate(tmp_path / 'old')['examples'] == 90
