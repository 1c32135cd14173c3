"""Studies whose training is made up, in a storage that costs no time."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from cifar_jax.search import budget, worker
from cifar_jax.search.study import OpenStudy
from tests.helpers import fake_study


@pytest.fixture
def open_fake(tmp_path: pathlib.Path) -> Callable[..., OpenStudy]:
  """Opens the study of the test, again and again; a journal is opened faster than SQLite."""

  def open_it(**changes: Any) -> OpenStudy:
    changes.setdefault('storage', f'journal:{tmp_path / "journal.log"}')
    return fake_study.open_fake(tmp_path / 'study', **changes)

  return open_it


@pytest.fixture
def work() -> Callable[..., None]:
  """Works for a study in this process."""

  def work_for(opened: OpenStudy, train: Any = fake_study.fake_train, **bounds: Any) -> None:
    worker.work(opened, fake_study.Space(), budget.Budget(**bounds), train)

  return work_for
