"""What is written beside the training: order, failures, and that nothing is swallowed."""

import pathlib
import threading
import time
from collections.abc import Callable

import pytest
from absl import logging

from cifar_jax.run_dir import background
from cifar_jax.run_dir.background import Background
from cifar_jax.utils.errors import UserError

SENTENCE = r'^saving in .* failed \(ValueError: first line\); .* run the same command again$'


def fail() -> None:
  raise ValueError('first line\nsecond line')


def full() -> None:
  raise UserError('cannot write to x: the disk is full')


def written(
  run: pathlib.Path, *jobs: Callable[[], object], then: type[BaseException] | None = None
):
  """Hands over jobs, of which the first waits until all are there, and may then raise an error."""
  go = threading.Event()
  with Background(run) as writer:
    writer.submit(go.wait)
    for job in jobs:
      writer.submit(job)
    go.set()
    if then is not None:
      raise then


def test_jobs_are_done_in_their_order_beside_the_caller(tmp_path) -> None:
  done: list[int] = []
  go = threading.Event()
  with Background(tmp_path) as writer:
    writer.submit(go.wait)
    for number in range(5):
      writer.submit(lambda number=number: done.append(number))
    writer.check()
    assert done == []
    go.set()
    writer.wait()
    assert done == [0, 1, 2, 3, 4]
    writer.submit(lambda: done.append(5))
  assert done == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize('asked', ['submit', 'check', 'wait', 'the end'])
def test_a_failure_is_one_sentence_at_the_next_opportunity(tmp_path, asked) -> None:
  """And nothing is written after it: neither what was handed over before it was known nor later."""
  done: list[str] = []

  def run() -> None:
    with Background(tmp_path) as writer:
      writer.submit(fail)
      writer._thread.join(0.2)
      if asked == 'submit':
        writer.submit(lambda: done.append('after'))
      elif asked != 'the end':
        getattr(writer, asked)()

  with pytest.raises(UserError, match=SENTENCE):
    run()
  assert done == []


def test_what_was_handed_over_behind_a_failure_is_not_done(tmp_path) -> None:
  done: list[str] = []
  with pytest.raises(UserError, match=SENTENCE):
    written(tmp_path, fail, lambda: done.append('after'))
  assert done == []


def test_a_users_mistake_keeps_its_words(tmp_path) -> None:
  with pytest.raises(UserError, match=r'^cannot write to x: the disk is full$'):
    written(tmp_path, full)


def test_a_failure_does_not_hide_another_error(tmp_path, monkeypatch) -> None:
  said: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: said.append(text % values))
  with pytest.raises(KeyError):
    written(tmp_path, full, then=KeyError)
  assert said == ['cannot write to x: the disk is full']


def test_a_failure_is_told_once(tmp_path, monkeypatch) -> None:
  said: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: said.append(text % values))

  def run() -> None:
    with Background(tmp_path) as writer:
      writer.submit(fail)
      writer.wait()

  with pytest.raises(UserError, match=SENTENCE) as raised:
    run()
  assert isinstance(raised.value.__cause__, ValueError)
  assert said == []


def test_the_end_waits_for_what_is_under_way_whatever_ends_the_block(tmp_path) -> None:
  done: list[str] = []

  def slow() -> None:
    time.sleep(0.2)
    done.append('slow')

  with pytest.raises(KeyboardInterrupt):
    written(tmp_path, slow, then=KeyboardInterrupt)
  assert done == ['slow']


def test_a_dead_thread_is_noticed(tmp_path, monkeypatch) -> None:
  """As one that the system ended; nobody waits for it for ever."""
  monkeypatch.setattr(background, '_LOOKS_EVERY', 0.01)
  monkeypatch.setattr(Background, '_work', lambda self: None)
  with pytest.raises(UserError, match='the thread that writes has died'), Background(tmp_path) as w:
    w._jobs.append(fail)


def test_no_more_threads_is_one_sentence(tmp_path: pathlib.Path, monkeypatch) -> None:
  def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")

  monkeypatch.setattr(threading.Thread, 'start', refuse)
  with pytest.raises(UserError, match="can't start new thread"), Background(tmp_path):
    pass
