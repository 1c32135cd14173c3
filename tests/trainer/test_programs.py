"""Programs are compiled ahead: those that the run needs, once each, and no failure is hidden."""

import collections
import threading

import jax
import pytest

from cifar_jax import data
from cifar_jax.trainer import input_pipeline, loop, programs
from cifar_jax.trainer.build import build_trainer
from tests.helpers.before_step import Crash, before_step, crash
from tests.helpers.runs import SILENT, changed
from tests.helpers.tiny import ONE_LAYER


@pytest.fixture
def dispatched(monkeypatch) -> list[tuple[int, bool]]:
  """The (count, masked) of each dispatch, as the loop asks for it."""
  found = []
  update = input_pipeline.DeviceDataset.update

  def noted(self, state, step, count, masked):
    found.append((count, masked))
    return update(self, state, step, count, masked)

  monkeypatch.setattr(input_pipeline.DeviceDataset, 'update', noted)
  return found


@pytest.mark.parametrize(
  ('options', 'kinds'),
  [
    # 180 training images: 6 batches of 30; or 4 of 50, the last of which has 30
    ({'steps_per_dispatch': 0}, [(1, False)]),
    ({'steps_per_dispatch': 6}, [(6, False)]),
    ({'steps_per_dispatch': 4}, [(4, False), (2, False)]),
    ({'steps_per_dispatch': 6, 'max_steps': 11}, [(6, False), (5, False)]),
    ({'steps_per_dispatch': 6, 'max_steps': 4}, [(4, False)]),
    ({'steps_per_dispatch': 4, 'batch_size': 50}, [(3, False), (1, True)]),
    ({'steps_per_dispatch': 6, 'checkpoint.every_steps': 4}, [(4, False), (2, False)]),
  ],
)
def test_what_is_compiled_ahead_is_what_is_dispatched(
  tiny_config, tmp_path, dispatched, options, kinds
) -> None:
  config = changed(tiny_config, epochs=2, **ONE_LAYER, **options)
  trainer = build_trainer(config, data.load_splits(config))
  assert programs.dispatches(trainer) == kinds
  loop.train(config, tmp_path, SILENT)
  assert set(dispatched) == set(kinds)


def test_each_program_is_compiled_once(tiny_config, tmp_path) -> None:
  compiled = collections.Counter()

  def listen(event: str, seconds: float, **details: object) -> None:
    if event.endswith('backend_compile_duration'):
      compiled[details.get('fun_name')] += 1

  config = changed(tiny_config, epochs=3, steps_per_dispatch=6, max_steps=16, **ONE_LAYER)
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    loop.train(config, tmp_path, SILENT)
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  # 6 + 6 + 4 updates: two programs of one name
  assert compiled['jit(train_steps)'] == 2
  assert compiled['jit(eval_step)'] == 2  # on splits of two sizes
  assert compiled['jit(next_step)'] == 0


def test_what_fails_ahead_fails_where_it_is_needed(tiny_config, tmp_path, monkeypatch) -> None:
  from cifar_jax.training import steps

  def fails(*arguments, **options):
    raise ValueError('no such network')

  monkeypatch.setattr(steps, 'make_train_step', lambda *arguments, **options: fails)
  with pytest.raises(ValueError, match='no such network'):
    loop.train(changed(tiny_config, **ONE_LAYER), tmp_path, SILENT)


def test_nothing_is_compiled_ahead_where_batches_come_from_the_host(tiny_config) -> None:
  config = changed(tiny_config, **{**ONE_LAYER, 'data.placement': 'host'})
  splits = data.load_splits(config)
  ahead = programs.CompiledAhead(build_trainer(config, splits), splits)
  ahead.begin(0)
  assert not ahead._done


def test_what_a_run_that_ended_needs_no_more_is_not_compiled(tiny_config, monkeypatch) -> None:
  config = changed(tiny_config, **ONE_LAYER, steps_per_dispatch=6, max_steps=16, epochs=3)
  splits = data.load_splits(config)
  begun, go_on, lowered = threading.Event(), threading.Event(), []

  def lower_updates(trainer, images, labels, count, masked):
    lowered.append(count)
    begun.set()
    go_on.wait(60)
    raise ValueError('is left to the call that needs it')

  monkeypatch.setattr(programs, 'lower_updates', lower_updates)
  monkeypatch.setattr(programs, 'lower_evaluation', lambda *arguments: lowered.append('evaluation'))
  ahead = programs.CompiledAhead(build_trainer(config, splits), splits)
  ahead.begin(0)
  assert begun.wait(60)
  ahead.close()
  go_on.set()
  ahead.wait((4, False))  # comes back although it was never compiled
  assert lowered == [6]


@pytest.mark.parametrize(
  ('first_step', 'kinds'),
  [
    # Epochs of 3 + 1 updates, and 2 of the last one.
    (0, [(3, False), (1, True), 'validation', (2, False), 'test']),
    (1, [(2, False), (1, True), 'validation', (3, False), 'test']),
    (3, [(1, True), 'validation', (3, False), (2, False), 'test']),
    (8, [(2, False), 'validation', 'test']),
    (10, ['validation', 'test']),
  ],
)
def test_what_a_session_needs_is_compiled_in_the_order_in_which_it_needs_it(
  tiny_config, monkeypatch, first_step, kinds
) -> None:
  """180 training images make four batches of 50, the last of which is short."""
  config = changed(
    tiny_config, **ONE_LAYER, batch_size=50, steps_per_dispatch=3, epochs=3, max_steps=10
  )
  splits = data.load_splits(config)
  assert len(splits.validation) != len(splits.test)
  lowered = []

  def lower_updates(trainer, images, labels, count, masked):
    lowered.append((count, masked))
    raise ValueError('is left to the call that needs it')

  def lower_evaluation(trainer, images, labels):
    lowered.append('test' if len(labels) == len(splits.test) else 'validation')
    raise ValueError('is left to the call that needs it')

  monkeypatch.setattr(programs, 'lower_updates', lower_updates)
  monkeypatch.setattr(programs, 'lower_evaluation', lower_evaluation)
  ahead = programs.CompiledAhead(build_trainer(config, splits), splits)
  ahead.begin(first_step)
  ahead.begin(0)  # once is enough
  ahead.wait(programs.TEST)
  assert lowered == kinds


def test_a_run_that_is_resumed_within_an_epoch_compiles_what_is_left_of_it(
  tiny_config, tmp_path, dispatched, monkeypatch
) -> None:
  config = changed(
    tiny_config, **ONE_LAYER, **{'epochs': 2, 'steps_per_dispatch': 6, 'checkpoint.every_steps': 4}
  )
  with before_step(4, crash), pytest.raises(Crash):
    loop.train(config, tmp_path, SILENT)
  dispatched.clear()
  asked = []
  begin = programs.CompiledAhead.begin

  def noted(self, first_step):
    asked.append(first_step)
    begin(self, first_step)

  monkeypatch.setattr(programs.CompiledAhead, 'begin', noted)
  loop.train(config, tmp_path, SILENT)
  assert asked == [4]
  assert dispatched == [(2, False), (2, False), (4, False)]
