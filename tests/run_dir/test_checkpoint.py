"""Checkpoints with states of a few arrays: the same bits back, whatever happens to the disk."""

import dataclasses
import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np
import optax
import pytest

from cifar_jax.config import FORMAT
from cifar_jax.run_dir import checkpoint
from cifar_jax.run_dir.checkpoint import BEST, LATEST, Checkpoints
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError
from tests.helpers import warm_process
from tests.helpers.states import (
  FACTS,
  bits,
  make_state,
  restore,
  restore_and_end,
  restored_step,
  save_and_die,
  save_steps,
  stderr_of,
  target,
)

# What Orbax leaves behind of a failed read or write; the tests 'nothing but' look at it.
pytestmark = [
  pytest.mark.usefixtures('collected'),
  pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
  pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning'),
]


def truncate(folder: pathlib.Path) -> None:
  files = [path for path in folder.rglob('*') if path.is_file()]
  assert len(files) > 3
  for path in files:
    with path.open('r+b') as file:
      file.truncate(path.stat().st_size // 2)


def test_round_trip_keeps_every_bit(tmp_path) -> None:
  state = make_state(7)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state, FACTS)
  with Checkpoints(tmp_path) as checkpoints:
    restored, facts = checkpoints.restore(target(state))
  assert bits(restored) == bits(state)
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  assert facts == {**FACTS, 'format': FORMAT}
  assert {'bfloat16', 'float32', 'int32'} == {entry[1] for entry in bits(restored)}


def test_restores_onto_the_devices_of_the_target(tmp_path) -> None:
  """Saved on one device, restored onto eight: every device holds the whole state."""
  save_steps(tmp_path, 1)
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(checkpoint.abstract_state(make_state(1), everywhere))
  for leaf in jax.tree.leaves(state):
    assert leaf.sharding.device_set == set(jax.devices()[:8])
    assert leaf.is_fully_replicated
  assert bits(state) == bits(make_state(1))


def test_empty_run_has_no_checkpoint(tmp_path) -> None:
  for read_only in (False, True):
    with Checkpoints(tmp_path / 'new', read_only=read_only) as checkpoints:
      assert checkpoints.latest() is None
      assert checkpoints.best() is None
      assert checkpoints.steps() == []
      assert checkpoints.restore(target(make_state(0))) is None
      assert checkpoints.restore(target(make_state(0)), 'best') is None
  with Checkpoints(tmp_path / 'never', read_only=True):
    assert not (tmp_path / 'never').exists()


@pytest.mark.parametrize(
  ('keep', 'kept'),
  [
    pytest.param(1, [9], marks=pytest.mark.thorough),
    (2, [5, 9]),
    pytest.param(5, [2, 4, 5, 9], marks=pytest.mark.thorough),
  ],
)
def test_keeps_the_latest(tmp_path, keep, kept) -> None:
  save_steps(tmp_path, 2, 4, 5, 9, keep=keep)
  with Checkpoints(tmp_path, keep) as checkpoints:
    assert checkpoints.steps() == kept
    assert checkpoints.latest() == 9
  assert sorted(int(path.name) for path in (tmp_path / LATEST).iterdir()) == kept
  assert [restored_step(tmp_path, str(step)) for step in kept] == kept


def test_best_stays_beside_the_latest_and_is_one(tmp_path) -> None:
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    for step, best in [(1, True), (2, True), (3, False), (4, False)]:
      facts = {**FACTS, 'number': step}
      if best:
        checkpoints.save(make_state(step), facts, best=True)
      checkpoints.save(make_state(step), facts)
    assert (checkpoints.best(), checkpoints.latest()) == (2, 4)
    assert checkpoints.steps() == [2, 4]
  assert restored_step(tmp_path, 'best') == 2
  assert restored_step(tmp_path, 'latest') == 4
  assert restored_step(tmp_path, '2') == 2


def test_a_step_that_is_there_is_left_alone(tmp_path) -> None:
  save_steps(tmp_path, 3)
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / LATEST).rglob('*')}
  save_steps(tmp_path, 3)
  assert {p: p.stat().st_mtime_ns for p in (tmp_path / LATEST).rglob('*')} == before


def test_unknown_step_lists_the_steps(tmp_path) -> None:
  save_steps(tmp_path, 10, 20)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    with pytest.raises(UserError, match=r'no checkpoint of step 15; it has \[10, 20\]'):
      checkpoints.restore(target(make_state(0)), '15')
    with pytest.raises(UserError, match=r"'newest' is not 'latest', 'best' or a step number"):
      checkpoints.restore(target(make_state(0)), 'newest')
    with pytest.raises(UserError, match="'-1' is not"):
      checkpoints.restore(target(make_state(0)), '-1')


def test_damaged_newest_is_passed_over_and_written_again(tmp_path) -> None:
  save_steps(tmp_path, 1, 2, 3, keep=3)
  truncate(tmp_path / LATEST / '3')
  with Checkpoints(tmp_path, keep=3) as checkpoints:
    state, facts = checkpoints.restore(target(make_state(0)))
    assert (state.step, facts['number']) == (2, 2)
    checkpoints.save(make_state(3), {**FACTS, 'number': 3})
    assert checkpoints.steps() == [1, 2, 3]
  assert restored_step(tmp_path) == 3


def wide_state(step: int) -> TrainState:
  """With a kernel that no compression makes smaller: any bit of the file is one of a weight."""
  state = make_state(step)
  kernel = np.random.default_rng(step).integers(0, 2**32, (50, 40), np.uint32).view(np.float32)
  return dataclasses.replace(state, params={**state.params, 'Dense_1': {'kernel': kernel}})


@pytest.mark.parametrize(
  ('variables', 'sealed'),
  [
    pytest.param(False, False, marks=pytest.mark.thorough),
    pytest.param(True, False, marks=pytest.mark.thorough),
    (False, True),
  ],
)
def test_no_flipped_bit_is_read_as_a_weight(tmp_path, variables, sealed) -> None:
  """Bits, and runs of zeros, all over the files: always the arrays that were saved, of the newest
  step or of the one before; by the arrays' checksums alone as well as by those of the files.
  """
  with Checkpoints(tmp_path, 2) as checkpoints:
    for step in (1, 2):
      checkpoints.save(wide_state(step), FACTS)
      if not sealed:
        (tmp_path / LATEST / str(step) / 'files.json').unlink()
  saved = {step: bits(wide_state(step)) for step in (1, 2)}
  places = np.random.default_rng(0)
  files = sorted(path for path in (tmp_path / LATEST / '2').rglob('*') if path.is_file())
  largest = max(files, key=lambda path: path.stat().st_size)
  steps = []
  for file in [*files, *[largest] * 20]:
    whole = file.read_bytes()
    damaged = bytearray(whole)
    place = int(places.integers(len(whole))) if whole else 0
    if len(steps) % 3 == 2:
      damaged[place : place + 16] = bytes(len(damaged[place : place + 16]))
    elif whole:
      damaged[place] ^= 1 << int(places.integers(8))
    file.write_bytes(damaged)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
      if variables:
        found, step = checkpoints.restore_variables()
        assert [entry[3] for entry in bits(found['params'])] == [
          entry[3] for entry in bits(wide_state(step).params)
        ]
      else:
        state, _ = checkpoints.restore(target(wide_state(0)))
        step = int(state.step)
        assert bits(state) == saved[step]
    steps.append(step)
    file.write_bytes(whole)
  assert steps[-20:].count(1) >= (20 if sealed else 15)  # in the kernel itself


def test_checkpoints_without_checksums_still_load(tmp_path) -> None:
  """As they were saved by versions that wrote none."""
  save_steps(tmp_path, 1)
  path = tmp_path / LATEST / '1' / 'facts' / 'metadata'
  facts = json.loads(path.read_text())
  path.write_text(json.dumps({name: facts[name] for name in (*FACTS, 'number')}))
  (tmp_path / LATEST / '1' / 'files.json').unlink()
  assert restored_step(tmp_path) == 1
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.restore_variables()[1] == 1


def test_checksums_are_of_the_bytes(tmp_path) -> None:
  """Against hashlib over what NumPy holds; in the facts, so that any program can compare them."""
  save_steps(tmp_path, 1)
  facts = json.loads((tmp_path / LATEST / '1' / 'facts' / 'metadata').read_text())
  kernel = np.asarray(make_state(1).params['Conv_0']['kernel'])
  expected = hashlib.blake2b(kernel.tobytes(), digest_size=16).hexdigest()
  assert facts['arrays']['params/Conv_0/kernel'] == ['float32', [4, 3], expected]


def test_checksums_of_arrays_on_many_devices(tmp_path) -> None:
  """Whole on each of eight devices, or spread over them by rows: the same as on one."""
  from cifar_jax.run_dir import checksums

  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  array = np.arange(64, dtype=np.float32).reshape(16, 4)
  for spec in (jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec('data')):
    placed = jax.device_put(array, jax.sharding.NamedSharding(mesh, spec))
    assert checksums.record({'a': placed}) == checksums.record({'a': array})


def test_another_optimizer_is_not_called_damaged(tmp_path) -> None:
  save_steps(tmp_path, 1)
  other = dataclasses.replace(make_state(1), opt_state=optax.sgd(0.1).init(make_state(1).params))
  with (
    Checkpoints(tmp_path, read_only=True) as checkpoints,
    pytest.raises(UserError, match='is not damaged but of other options or of another version'),
  ):
    checkpoints.restore(target(other))


@pytest.mark.parametrize('part', ['state', pytest.param('facts', marks=pytest.mark.thorough)])
def test_missing_part_is_passed_over(tmp_path, part) -> None:
  save_steps(tmp_path, 1, 2)
  shutil.rmtree(tmp_path / LATEST / '2' / part)
  assert restored_step(tmp_path) == 1


def test_damaged_best_is_replaced_by_the_next_best(tmp_path) -> None:
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(make_state(1), {**FACTS, 'number': 1}, best=True)
  truncate(tmp_path / BEST / '1')
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(make_state(2), {**FACTS, 'number': 2}, best=True)
  assert restored_step(tmp_path, 'best') == 2


def test_all_damaged_is_an_error(tmp_path) -> None:
  save_steps(tmp_path, 1, 2)
  for step in ('1', '2'):
    truncate(tmp_path / LATEST / step)
  with (
    Checkpoints(tmp_path, read_only=True) as checkpoints,
    pytest.raises(
      UserError, match=r'no checkpoint in .* can be read, tried step 2 .*step 1 .*'
    ) as e,
  ):
    checkpoints.restore(target(make_state(0)))
  assert '\n' not in str(e.value)
  assert str(tmp_path) in str(e.value)


def test_another_network_is_an_error(tmp_path) -> None:
  save_steps(tmp_path, 1)
  wider = target(make_state(1, width=4))
  narrower = target(make_state(1))
  del narrower.params['Dense_0']
  for other in (wider, narrower):
    with (
      Checkpoints(tmp_path, read_only=True) as checkpoints,
      pytest.raises(
        UserError, match=r'of another network: (Conv|Dense)_0/kernel is .*--workdir'
      ) as error,
    ):
      checkpoints.restore(other)
    assert '\n' not in str(error.value)


def test_leftovers_of_a_killed_save_are_cleaned_at_the_next_start(tmp_path) -> None:
  save_steps(tmp_path, 1)
  killed = warm_process.run(save_and_die, tmp_path, 2)
  assert killed.returncode == 9
  names = {path.name for path in (tmp_path / LATEST).iterdir()}
  assert '1' in names
  assert '2' not in names
  assert len(names) == 2
  assert restored_step(tmp_path) == 1  # reading alone changes nothing
  assert {path.name for path in (tmp_path / LATEST).iterdir()} == names
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.steps() == [1]
    checkpoints.save(make_state(3), {**FACTS, 'number': 3})
  assert {path.name for path in (tmp_path / LATEST).iterdir()} == {'1', '3'}
  assert restored_step(tmp_path) == 3


def test_nothing_but_sentences_for_another_network(tmp_path) -> None:
  save_steps(tmp_path, 1)
  stderr = stderr_of(tmp_path, restore, 4)
  assert 'is of another network: Conv_0/kernel is (4, 3) there and (4, 4) here' in stderr
  assert 'Traceback' not in stderr
  assert 'Exception ignored' not in stderr
  assert len(stderr.splitlines()) == 1


def flip_all(step_folder: pathlib.Path) -> None:
  """A bit in the middle of every file but the record of them."""
  for file in step_folder.rglob('*'):
    if file.is_file() and file.name != 'files.json' and (content := bytearray(file.read_bytes())):
      content[len(content) // 2] ^= 1
      file.write_bytes(content)


@pytest.mark.parametrize(
  'damage',
  [
    pytest.param(flip_all, marks=pytest.mark.thorough),
    truncate,
    pytest.param(shutil.rmtree, marks=pytest.mark.slow),
  ],
  ids=lambda d: d.__name__,
)
def test_nothing_but_sentences_for_damage(tmp_path, damage) -> None:
  """TensorStore reads in threads, and each would print a traceback of its own."""
  save_steps(tmp_path, 1, 2)
  damage(tmp_path / LATEST / '2' / ('state' if damage is shutil.rmtree else '.'))
  stderr = stderr_of(tmp_path, restore_and_end).splitlines()
  assert len(stderr) == 2, stderr
  assert f'in {tmp_path} cannot be read; that of step 1 is used in its place' in stderr[0]
  assert stderr[1] == 'error: the end'
  damage(tmp_path / LATEST / '1' / ('state' if damage is shutil.rmtree else '.'))
  stderr = stderr_of(tmp_path, restore).splitlines()
  assert len(stderr) == 1, stderr
  assert stderr[0].startswith(f'error: no checkpoint in {tmp_path} can be read, tried step 2 (')
