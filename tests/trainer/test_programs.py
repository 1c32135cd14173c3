"""Programs are compiled ahead: those that the run needs, once each, and no failure is hidden."""

import collections
import threading

import jax
import pytest

from cifar_jax import data
from cifar_jax.trainer import input_pipeline, loop, programs
from cifar_jax.trainer.build import build_trainer
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
  assert not programs.CompiledAhead(build_trainer(config, splits), splits)._done


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
  assert begun.wait(60)
  ahead.close()
  go_on.set()
  ahead.wait((4, False))  # comes back although it was never compiled
  assert lowered == [6]


def test_programs_are_compiled_in_the_order_in_which_they_are_needed(tiny_config, monkeypatch):
  """180 training images make four batches of 50, the last of which is short."""
  config = changed(
    tiny_config, **ONE_LAYER, batch_size=50, steps_per_dispatch=3, epochs=3, max_steps=10
  )
  splits = data.load_splits(config)
  lowered = []

  def lower_updates(trainer, images, labels, count, masked):
    lowered.append((count, masked))
    raise ValueError('is left to the call that needs it')

  def lower_evaluation(trainer, images, labels):
    lowered.append(len(labels))
    raise ValueError('is left to the call that needs it')

  monkeypatch.setattr(programs, 'lower_updates', lower_updates)
  monkeypatch.setattr(programs, 'lower_evaluation', lower_evaluation)
  ahead = programs.CompiledAhead(build_trainer(config, splits), splits)
  ahead.wait(programs.TEST)
  validation, test = len(splits.validation), len(splits.test)
  assert validation != test
  # Two whole epochs of 3 + 1 updates, and 2 of the last one.
  assert lowered == [(3, False), (1, True), validation, (2, False), test]
