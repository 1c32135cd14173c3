"""Trainings that come to the same: stopped, moved to other devices, or dispatched otherwise."""

import jax
import numpy as np
import pytest

from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of
from tests.helpers.tiny import ONE_LAYER

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture
def tiny_config(tiny_config):
  """With a short last batch: 180 examples in six steps."""
  return changed(tiny_config, batch_size=32)


class Interrupted(Progress):
  """Raises in the middle of a run."""

  def __init__(self, after: int):
    super().__init__('silent')
    self._left = after

  def advance(self, steps: int) -> None:
    self._left -= steps
    if self._left < 0:
      raise KeyboardInterrupt


@pytest.mark.parametrize(
  'session',
  [
    pytest.param((8, 1, 2), marks=pytest.mark.thorough),
    pytest.param((1, 8, 4), marks=pytest.mark.slow),
  ],
)
def test_a_run_may_move_to_another_number_of_devices(tiny_config, tmp_path, session) -> None:
  """One epoch on each number of devices gives the curve of one device."""
  tiny_config = changed(tiny_config, **ONE_LAYER)
  loop.train(tiny_config, tmp_path / 'one', SILENT)
  for epochs, devices in enumerate(session, 1):
    config = changed(tiny_config, epochs=epochs, devices=devices)
    results = loop.train(config, tmp_path / 'moved', SILENT)
  plural = [f'{devices} cpu device{"s" * (devices > 1)} (cpu)' for devices in session]
  assert results['devices'] == ', then '.join(plural)
  one, moved = rows_of(tmp_path / 'one'), rows_of(tmp_path / 'moved')
  for left, right in zip(one, moved, strict=True):
    assert float(left['train_loss']) == pytest.approx(float(right['train_loss']), rel=1e-3)


def test_batch_that_does_not_divide_by_the_devices(tiny_config, tmp_path) -> None:
  with pytest.raises(
    UserError, match=r'--config\.batch_size=30 does not divide by 8 devices; use 32'
  ):
    loop.train(changed(tiny_config, batch_size=30, devices=8), tmp_path, SILENT)
  with pytest.raises(UserError, match=r'--config\.devices=9, but JAX sees 8'):
    loop.train(changed(tiny_config, devices=9), tmp_path, SILENT)


@pytest.mark.thorough
def test_many_steps_in_one_dispatch_train_the_same(tiny_config, tmp_path) -> None:
  """lax.scan, the way of GPU and TPU, against one step a dispatch; other compiled code, so not to
  the last bit.
  """
  # Not Adam: it blows rounding errors of gradients that are 0, such as of a bias before BatchNorm,
  # up to whole steps.
  rule = {'optimizer.name': 'sgd', 'optimizer.learning_rate': 0.05}
  single = changed(tiny_config, **ONE_LAYER, **rule)
  loop.train(single, tmp_path / 'one', SILENT)
  loop.train(changed(single, steps_per_dispatch=100), tmp_path / 'many', SILENT)
  one, many = (state_of(single, tmp_path / name) for name in ('one', 'many'))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), one.params, many.params
  )
  assert one.step == many.step == 18


@pytest.mark.thorough
def test_averaged_run_stops_and_resumes_as_if_it_never_had(tiny_config, tmp_path) -> None:
  """Saved in mid-epoch, three steps after the last averaging, with the slow copy in it."""
  config = changed(
    tiny_config,
    **{
      'weight_averaging.name': 'lookahead',
      'augment.flip': 'alternating',
      'checkpoint.every_steps': 8,
    },
  )
  loop.train(config, tmp_path / 'whole', SILENT)
  with pytest.raises(KeyboardInterrupt):
    loop.train(config, tmp_path / 'parts', Interrupted(after=9))
  with Checkpoints(tmp_path / 'parts', read_only=True) as checkpoints:
    assert checkpoints.latest() == 8
  loop.train(config, tmp_path / 'parts', SILENT)
  whole, parts = (state_of(config, tmp_path / name) for name in ('whole', 'parts'))
  assert_identical(whole, parts)
  last = {'params': whole.params, 'batch_stats': whole.batch_stats}
  assert_identical(whole.averaged, last)  # the last step copies
  plain = changed(config, **{'weight_averaging.name': 'none'})
  loop.train(plain, tmp_path / 'plain', SILENT)
  assert state_of(plain, tmp_path / 'plain').averaged == ()
