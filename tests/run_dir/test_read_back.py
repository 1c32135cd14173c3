"""Checkpoints in a folder that may lose what is written."""

import pathlib

import pytest

from cifar_jax.run_dir.checkpoint import BEST, LATEST, Checkpoints
from cifar_jax.utils.errors import UserError
from tests.helpers.states import FACTS, bits, make_state, save_steps, target


def _damage(run: pathlib.Path, name: str, step: int) -> None:
  """Flips a bit of the largest file of a checkpoint, the arrays."""
  path = max((run / name / str(step) / 'state').rglob('*'), key=lambda file: file.stat().st_size)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _lose(monkeypatch: pytest.MonkeyPatch, times: int) -> list[list[int]]:
  """Damages the checkpoints that are written next, and notes which steps were there by then."""
  seen: list[list[int]] = []
  write = Checkpoints._write

  def damaging(self: Checkpoints, name: str, step: int, *rest: object) -> None:
    write(self, name, step, *rest)
    seen.append(self.steps())
    if len(seen) <= times:
      _damage(self._run, name, step)

  monkeypatch.setattr(Checkpoints, '_write', damaging)
  return seen


@pytest.mark.parametrize('best', [False, True])
def test_what_was_lost_once_is_written_again_before_an_older_one_goes(
  tmp_path, monkeypatch, best
) -> None:
  with Checkpoints(tmp_path, keep=1, read_back=True) as checkpoints:
    checkpoints.save(make_state(1), FACTS, best=best)
    seen = _lose(monkeypatch, times=1)
    checkpoints.save(make_state(2), FACTS, best=best)
    assert seen == [[1, 2], [1, 2]]
    assert checkpoints.steps() == [2]
    assert not checkpoints._unreadable
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(target(make_state(2)), 'best' if best else 'latest')
  assert bits(state) == bits(make_state(2))


def test_what_is_lost_twice_stops_the_run_and_leaves_the_older_one(tmp_path, monkeypatch) -> None:
  with Checkpoints(tmp_path, keep=1, read_back=True) as checkpoints:
    checkpoints.save(make_state(1), FACTS)
    _lose(monkeypatch, times=2)
    with pytest.raises(UserError, match=r'step 2 was written .* twice and cannot be read back'):
      checkpoints.save(make_state(2), FACTS)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.steps() == [1]
    state, _ = checkpoints.restore(target(make_state(1)))
  assert bits(state) == bits(make_state(1))


def test_without_it_nothing_is_noticed(tmp_path, monkeypatch) -> None:
  _lose(monkeypatch, times=1)
  save_steps(tmp_path, 1)
  with Checkpoints(tmp_path, read_only=True) as checkpoints, pytest.raises(UserError):
    checkpoints.restore(target(make_state(1)))


@pytest.mark.parametrize('keep', [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_as_many_are_kept_as_without(tmp_path, keep) -> None:
  with Checkpoints(tmp_path, keep, read_back=True) as checkpoints:
    for step in range(1, 5):
      checkpoints.save(make_state(step), FACTS)
      checkpoints.save(make_state(step), FACTS, best=True)
  assert sorted(path.name for path in (tmp_path / LATEST).iterdir()) == ['3', '4'][-keep:]
  assert [path.name for path in (tmp_path / BEST).iterdir()] == ['4']


@pytest.mark.parametrize(('keep', 'left'), [(1, [15]), (2, [10, 15])])
def test_a_damaged_one_of_a_later_step_takes_no_place(tmp_path, keep, left) -> None:
  """As where a run goes on from the one before and is stopped before it comes as far again."""
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    for step in (10, 20):
      checkpoints.save(make_state(step), FACTS)
  _damage(tmp_path, LATEST, 20)
  with Checkpoints(tmp_path, keep, read_back=True) as checkpoints:
    checkpoints.restore(target(make_state(10)))
    checkpoints.save(make_state(15), FACTS)
    assert checkpoints.steps() == left
    checkpoints.save(make_state(20), FACTS)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(target(make_state(20)))
  assert bits(state) == bits(make_state(20))


def test_the_one_to_go_on_from_stays_until_another_has_proved_itself(tmp_path, monkeypatch) -> None:
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    for step in (10, 20):
      checkpoints.save(make_state(step), FACTS)
  _damage(tmp_path, LATEST, 20)
  _lose(monkeypatch, times=2)
  with Checkpoints(tmp_path, keep=1, read_back=True) as checkpoints:
    checkpoints.restore(target(make_state(10)))
    with pytest.raises(UserError, match='cannot be read back'):
      checkpoints.save(make_state(15), FACTS)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    state, _ = checkpoints.restore(target(make_state(10)))
  assert bits(state) == bits(make_state(10))
