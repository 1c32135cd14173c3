"""Storages: one process at a time, and nothing half-written."""

import contextlib
import dataclasses
import errno
import sqlite3
import threading
import types

import optuna
import pytest
import sqlalchemy

from cifar_jax.devices.multihost import Stop
from cifar_jax.search import attempt, budget, claims, storage, worker
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study


def test_a_journal_goes_on_after_half_a_line(tmp_path) -> None:
  """A process was killed while it wrote; Optuna's own journal could not be read any more."""
  path = tmp_path / 'journal.log'
  study = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{path}').study
  study.ask()
  whole = path.read_bytes()
  path.write_bytes(whole + b'{"op_code":4,"worker_id":"' + b'x' * 9000)
  study.ask()
  lines = path.read_bytes()
  assert lines.startswith(whole)
  assert lines.endswith(b'\n')
  again = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{path}').study
  assert [trial.number for trial in again.trials] == [0, 1]


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch) -> None:
  path = tmp_path / 'journal.log'
  opened = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{path}')
  whole = path.read_bytes()

  def full(_: int) -> None:
    raise OSError(errno.ENOSPC, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(storage.os, 'fsync', full)
    with pytest.raises(storage.StorageError, match='the disk is full'):
      storage.patiently(opened.store, opened.study.ask)
  assert path.read_bytes() == whole
  assert opened.study.ask().number == 0


def test_a_locked_database_is_waited_for(tmp_path, monkeypatch, capsys) -> None:
  monkeypatch.setattr(storage, '_SECONDS_FOR_SQLITE', 0.05)
  monkeypatch.setattr(storage, '_PAUSE', 0.05)
  opened = fake_study.open_fake(tmp_path / 'study')
  trial = opened.study.ask()
  other = sqlite3.connect(tmp_path / 'study' / storage.SQLITE_NAME, check_same_thread=False)
  other.execute('BEGIN EXCLUSIVE')
  threading.Timer(0.4, other.rollback).start()
  storage.patiently(opened.store, lambda: trial.set_user_attr('a', 1))
  assert opened.trials()[0].user_attrs['a'] == 1
  assert 'database is locked' in capsys.readouterr().err
  monkeypatch.setattr(storage, '_PATIENCE', 0.2)
  other.execute('BEGIN EXCLUSIVE')
  with pytest.raises(storage.StorageError, match=r'study\.sqlite3 cannot be used .*locked'):
    storage.patiently(opened.store, lambda: trial.set_user_attr('a', 2))
  other.close()


def test_workers_that_claim_at_once_share_the_budget(tmp_path) -> None:
  """Each thread with a connection of its own, as a process has."""
  folder, bounds, claimed = tmp_path / 'study', budget.Budget(12), []
  fake_study.open_fake(folder)

  def claim() -> None:
    opened, watch = fake_study.open_fake(folder), claims.Watch()
    while (trial := worker._claim(opened, bounds, watch, claims.new_owner())) is not None:
      claimed.append(trial.number)

  threads = [threading.Thread(target=claim) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(claimed) == list(range(12))


def failing_once_after(store: storage.Store) -> storage.Store:
  """A store of which the first `exclusive` fails when all is done, as where a server goes away."""
  left = [sqlalchemy.exc.OperationalError('unlock', {}, Exception('gone'))]

  @contextlib.contextmanager
  def exclusive():
    with store.exclusive():
      yield
    if left:
      raise left.pop()

  return dataclasses.replace(store, exclusive=exclusive)


def test_a_claim_that_is_asked_again_is_the_same(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(storage, '_PAUSE', 0.01)
  opened = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{tmp_path / "j"}')
  opened = dataclasses.replace(opened, store=failing_once_after(opened.store))
  owner, bounds, watch = claims.new_owner(), budget.Budget(1), claims.Watch()
  claimed = storage.patiently(opened.store, lambda: worker._claim(opened, bounds, watch, owner))
  assert claimed is not None
  assert [trial.number for trial in opened.trials()] == [claimed.number]


def test_an_end_that_is_told_again_is_the_same(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(storage, '_PAUSE', 0.01)
  opened = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{tmp_path / "j"}')
  owner = claims.new_owner()
  trial = worker._claim(opened, budget.Budget(1), claims.Watch(), owner)
  opened = dataclasses.replace(opened, store=failing_once_after(opened.store))
  failed = attempt.Attempt(
    opened, fake_study.Space(), trial, owner, fake_study.fake_train, Stop()
  ).run()
  assert failed is False
  assert opened.trials()[0].state is optuna.trial.TrialState.COMPLETE


def test_a_server_that_is_gone_at_the_unlock_undoes_nothing(tmp_path, monkeypatch) -> None:
  """SQLite stands in for PostgreSQL; the connection is not used again."""
  engine, done = sqlalchemy.create_engine('sqlite://', poolclass=sqlalchemy.QueuePool), []

  @sqlalchemy.event.listens_for(engine, 'connect')
  def _(connection, _):
    done.append('connected')
    connection.create_function('pg_advisory_lock', 1, lambda _: done.append('locked'))
    connection.create_function('pg_advisory_unlock', 1, lambda _: 1 / 0)

  url = 'postgresql+psycopg://me@here/x'
  dialect = sqlalchemy.make_url(url).get_dialect()
  monkeypatch.setattr(dialect, 'import_dbapi', classmethod(lambda _: None))
  monkeypatch.setattr(storage, '_rdb', lambda *_: types.SimpleNamespace(engine=engine))
  store = storage.open_store(url, tmp_path)
  for _ in range(2):
    with store.exclusive():
      done.append('claimed')
  assert done == ['connected', 'locked', 'claimed'] * 2


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('redis://here', r'--storage=redis://here: give journal:PATH'),
    ('journal:', r'--storage=journal:: give journal:PATH'),
    ('sqlite:///', r'--storage=sqlite:///: give journal:PATH'),
    ('postgresql+nothing://me@here/x', r'cannot be opened .*nothing'),
    ('sqlite:////proc/none/study.db', r'cannot make the folder /proc/none'),
  ],
)
def test_a_storage_that_cannot_be_is_refused_in_a_sentence(tmp_path, text, said) -> None:
  with pytest.raises(UserError, match=said):
    storage.open_store(text, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_missing_driver_is_named_and_a_password_is_not(tmp_path, monkeypatch) -> None:
  def missing(_: object) -> None:
    raise ModuleNotFoundError("No module named 'psycopg'", name='psycopg')

  url = 'postgresql+psycopg://me:secret@here/x'
  dialect = sqlalchemy.make_url(url).get_dialect()
  monkeypatch.setattr(dialect, 'import_dbapi', classmethod(missing))
  with pytest.raises(UserError, match=r"pip install 'psycopg\[binary\]'") as raised:
    storage.open_store(url, tmp_path)
  assert 'secret' not in str(raised.value)
  assert storage.without_password(url) == 'postgresql+psycopg://me:***@here/x'


def test_what_is_no_fault_of_the_storage_goes_on(tmp_path) -> None:
  opened = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{tmp_path / "j"}')

  def pruned() -> None:
    raise optuna.TrialPruned

  with pytest.raises(optuna.TrialPruned):
    storage.patiently(opened.store, pruned)
