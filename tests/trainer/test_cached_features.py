"""A head on cached maps: the same numbers as with the whole network, resumed to the bit."""

import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.models import pretrained
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop, step_memory
from cifar_jax.trainer.build import build_trainer
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.runs import assert_identical, changed, state_of
from tests.helpers.tiny_network import NETWORK, tensors, write_safetensors


@pytest.fixture
def config(tiny_data, tmp_path, monkeypatch) -> ConfigDict:
  """As tests/helpers/tiny.py, but with the tiny network of published weights below a head."""
  monkeypatch.setitem(pretrained.NETWORKS, 'tiny', NETWORK)
  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9
  config.optimizer.groups.base = ConfigDict()
  config.optimizer.groups.base.pattern = 'base/.*'
  config.optimizer.groups.base.frozen_from_epoch = 0
  config.model = ConfigDict()
  config.model.name = 'pretrained'
  config.model.network = 'tiny'
  config.model.weights = str(write_safetensors(tmp_path / 'tiny.safetensors', tensors()))
  config.model.pooled = False
  config.model.head = ('flatten', 'dense 8', 'dropout 0.2')
  config.model.features = 'cached'
  return config.lock()


def run(config: ConfigDict, folder: pathlib.Path) -> dict:
  return loop.train(config, folder, Progress('silent'))


def test_cached_maps_train_as_computed_ones(config, tmp_path) -> None:
  cached = run(config, tmp_path / 'cached')
  computed = run(changed(config, **{'model.features': 'computed'}), tmp_path / 'computed')
  for name in ('val_loss', 'val_accuracy', 'test_loss', 'test_accuracy'):
    assert cached[name] == pytest.approx(computed[name], rel=1e-4)
  assert cached['flops_per_second'] is None  # the base was not computed in its steps
  assert computed['flops_per_second'] > 0
  state = state_of(config, tmp_path / 'cached')
  kernel = np.asarray(state.params['base']['conv']['kernel'])
  assert np.array_equal(kernel, tensors()['conv.weight'].transpose(2, 3, 1, 0))
  mean = state.batch_stats['base']['bn']['mean']
  assert np.array_equal(np.asarray(mean), tensors()['bn.running_mean'])
  # A finished run needs neither the file of weights nor the cache.
  pathlib.Path(config.model.weights).unlink()
  assert evaluate(tmp_path / 'cached')['loss'] == pytest.approx(cached['test_loss'], rel=1e-5)


def test_a_step_on_cached_maps_needs_no_room_for_images(config) -> None:
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  needed = {
    features: step_memory.prepare(
      build_trainer(changed(config, **{'model.features': features}), splits), splits
    )
    for features in ('cached', 'computed')
  }
  assert [part.what.split()[1] for part in needed['cached']] == ['parameters,']
  assert needed['computed'][0] == needed['cached'][0]
  assert len(needed['computed']) == 4


@pytest.mark.slow
def test_resumed_to_the_bit(config, tmp_path) -> None:
  run(config, tmp_path / 'straight')
  stopped = changed(config, max_steps=8)
  run(stopped, tmp_path / 'stopped')
  run(config, tmp_path / 'stopped')
  assert_identical(state_of(config, tmp_path / 'stopped'), state_of(config, tmp_path / 'straight'))


@pytest.mark.slow
def test_maps_are_computed_once(config, tmp_path, monkeypatch) -> None:
  from cifar_jax.trainer import cached_features

  calls = []
  compute = cached_features._compute
  monkeypatch.setattr(cached_features, '_compute', lambda *a: calls.append(1) or compute(*a))
  config = changed(config, **{'data.mean': (0.123,)})  # no other test has these maps
  run(changed(config, epochs=1), tmp_path / 'a')
  assert len(calls) == 3  # train, validation, test
  run(changed(config, epochs=1, seed=0, batch_size=64), tmp_path / 'b')
  assert len(calls) == 3
  run(changed(config, epochs=1, **{'data.std': (2.0,)}), tmp_path / 'c')
  assert len(calls) == 6


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'augment.flip': 'random'}, r"'cached' computes .*--config\.augment\.flip would change them"),
    ({'evaluate.tta': 'flip'}, r'--config\.evaluate\.tta would change them'),
    ({'optimizer.groups.base.frozen_from_epoch': 3}, 'so the base must be frozen'),
    ({'optimizer.groups.base.pattern': 'base/conv/.*'}, 'so the base must be frozen'),
    ({'model.weights': 'nowhere.pth'}, r'--config\.model\.weights=nowhere\.pth: there is no such'),
    (
      {'model.network': 'vgg61'},
      r"--config\.model\.network=vgg61 is unknown; did you mean 'vgg1",
    ),
    ({'model.batch_norm': 'none'}, r"batch_norm must be 'frozen' or 'trained', not 'none'"),
    ({'model.one_sigmoid': True}, 'is for two classes, and the data have 4'),
  ],
)
def test_mistakes(config, tmp_path, changes, message) -> None:
  with config.unlocked():
    config.model.one_sigmoid, config.model.batch_norm = False, 'frozen'
  with pytest.raises(UserError, match=message):
    run(changed(config, **changes), tmp_path / 'run')


@pytest.mark.parametrize(
  ('features', 'channels'),
  [
    ('cached', 1),
    pytest.param('computed', 4, marks=pytest.mark.thorough),
    pytest.param('cached', 4, marks=pytest.mark.thorough),
    pytest.param('computed', 1, marks=pytest.mark.thorough),
  ],
)
def test_images_that_are_not_rgb_are_refused(config, tmp_path, features, channels) -> None:
  """They would pass for maps, and the published network would be left out without a word."""
  generator = np.random.default_rng(0)
  arrays = {
    f'{kind}_{part}': generator.integers(0, 255 if kind == 'x' else 4, shape).astype(np.uint8)
    for part in ('train', 'test')
    for kind, shape in (('x', (60, 8, 8, channels)), ('y', (60,)))
  }
  np.savez(tmp_path / 'images.npz', **arrays)
  config = changed(
    config, **{'data.dir': str(tmp_path / 'images.npz'), 'model.features': features, 'max_steps': 2}
  )
  message = f'takes images of 3 channels, and the data have {channels}; --config.data.channels=3'
  with pytest.raises(UserError, match=message):
    run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
  made = run(changed(config, **{'data.channels': 3}), tmp_path / 'run')
  assert made['parameters'] > tensors()['conv.weight'].size  # the base is there
  state = state_of(changed(config, **{'data.channels': 3}), tmp_path / 'run')
  assert set(state.params) == {'base', 'head'}


@pytest.mark.slow
def test_batch_norm_frozen_or_trained(config) -> None:
  """Trained, the statistics of the base move; frozen, they do not, while its kernels learn."""
  with config.unlocked():
    config.model.batch_norm = 'frozen'
    config.model.features = 'computed'
    config.optimizer.groups = ConfigDict()
  splits = data.split(data.load(config.data), '20', 'random', 0)
  for how in ('frozen', 'trained'):
    trainer = build_trainer(changed(config, **{'model.batch_norm': how}), splits)
    before = trainer.init()
    mean = np.asarray(before.batch_stats['base']['bn']['mean'])
    kernel = np.asarray(before.params['base']['conv']['kernel'])
    order = trainer.epoch_order(trainer.keys, jax.numpy.int32(0))
    arrays = before, splits.train.images, splits.train.labels, order
    after, _ = trainer.train_steps(1)(trainer.keys, *arrays, masked=False)
    assert np.array_equal(after.batch_stats['base']['bn']['mean'], mean) == (how == 'frozen')
    assert not np.array_equal(after.params['base']['conv']['kernel'], kernel)


@pytest.mark.slow
def test_fine_tuning_starts_from_the_head_and_moves_the_base_slowly(config, tmp_path) -> None:
  """First the head on cached maps, then everything, the base with a hundredth of the rate."""
  run(changed(config, epochs=1), tmp_path / 'head')
  head = state_of(config, tmp_path / 'head', 'best')
  with config.unlocked():
    config.model.features = 'computed'
    config.optimizer.groups = ConfigDict()
    config.optimizer.groups.base = ConfigDict()
    config.optimizer.groups.base.pattern = 'base/.*'
    config.optimizer.groups.base.learning_rate_factor = 0.01
    config.init_from = str(tmp_path / 'head')
  splits = data.split(data.load(config.data), '20', 'random', 0)
  start = build_trainer(config, splits).init()
  assert_identical((start.params, start.batch_stats), (head.params, head.batch_stats))
  run(changed(config, epochs=1), tmp_path / 'tuned')
  tuned = state_of(config, tmp_path / 'tuned')
  moved = {
    part: max(float(abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, trees), strict=True))
    for part in ('base', 'head')
    for trees in [(tuned.params[part], head.params[part])]
  }
  assert 0 < moved['base'] < moved['head'] / 10
  other = changed(config, **{'model.head': ('flatten', 'dense 9')})
  with pytest.raises(UserError, match='holds another network: its params have other names'):
    run(other, tmp_path / 'other')
  with pytest.raises(UserError, match='there is no such folder'):
    run(changed(config, init_from='nowhere'), tmp_path / 'other')
