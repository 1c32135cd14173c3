"""Folders that one process at a time writes."""

import pathlib
import sys

import pytest

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.locks import new_folder


def test_a_second_writer_is_refused_and_harms_nothing(tmp_path: pathlib.Path) -> None:
  out = tmp_path / 'around' / 'out'
  with new_folder(out) as draft:
    (draft / 'file').write_text('first')
    with pytest.raises(UserError, match=r'another process is writing .*out'), new_folder(out):
      pass
    assert (draft / 'file').read_text() == 'first'
  assert (out / 'file').read_text() == 'first'
  assert list(out.parent.iterdir()) == [out]


def test_what_a_killed_process_left_is_cleared(tmp_path: pathlib.Path) -> None:
  out = tmp_path / 'out'
  with new_folder(out) as draft:
    left = draft
  left.mkdir()
  (left / 'half').touch()
  (tmp_path / '.out.lock').touch()
  with new_folder(out) as draft:
    assert list(draft.iterdir()) == []
  assert list(out.iterdir()) == []
  assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(sys.platform != 'linux', reason='it has no such folder')
def test_where_nothing_can_be_made_no_other_process_is_blamed() -> None:
  with pytest.raises(UserError, match='cannot write to /proc'), new_folder(pathlib.Path('/proc/x')):
    pass
