"""What Linux says of processors, of two kinds, and how their cores are divided."""

import os
import pathlib
import subprocess
import sys

import pytest

from cifar_jax.startup import processor

X86 = 'processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f\n\n'
ARM = 'processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm\nCPU part\t: 0xd0c\n\n'


@pytest.mark.parametrize(
  ('text', 'features'), [(X86, {'fpu', 'avx2', 'avx512f'}), (ARM, {'fp', 'asimd', 'evtstrm'})]
)
def test_instruction_sets(monkeypatch, text, features) -> None:
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda *_: 2 * text)
  processor._linux_says.cache_clear()
  try:
    assert processor.features() == features
  finally:
    processor._linux_says.cache_clear()


@pytest.mark.parametrize(
  ('siblings', 'count', 'expected'),
  [
    ('apart', 2, [(0, 4, 1, 5), (2, 6, 3, 7)]),
    ('beside each other', 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
    ('apart', 3, [(0, 4), (1, 5, 2), (6, 3, 7)]),
    ('apart', 8, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,)]),
    ('apart', 9, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,), (0,)]),
  ],
)
def test_cores_are_divided_by_physical_cores(
  tmp_path, monkeypatch, siblings, count, expected
) -> None:
  """Four of them with two threads each, as Linux numbers them on this machine or that."""
  for number in range(8):
    folder = tmp_path / f'cpu{number}'
    folder.mkdir()
    physical = number % 4 if siblings == 'apart' else number // 2
    (folder / 'core_id').write_text(f'{physical}\n')
    (folder / 'physical_package_id').write_text('0\n')
  monkeypatch.setattr(processor, '_TOPOLOGY', str(tmp_path / 'cpu{}'))
  monkeypatch.setattr(processor, 'cores', lambda: list(range(8)))
  assert processor.shares(count) == expected


def test_where_the_system_says_nothing_of_cores_they_are_divided_by_number(monkeypatch) -> None:
  monkeypatch.setattr(processor, '_TOPOLOGY', '/absent/{}')
  monkeypatch.setattr(processor, 'cores', lambda: [3, 4, 6, 7, 9])
  assert processor.shares(2) == [(3, 4), (6, 7, 9)]
  monkeypatch.delattr(os, 'sched_setaffinity', raising=False)  # as on macOS and Windows
  assert processor.shares(2) == [(), ()]


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='no process is kept to cores here')
def test_what_is_started_has_its_share_and_who_starts_it_has_all() -> None:
  before = os.sched_getaffinity(0)
  one = min(before)
  code = 'import os; print(*os.sched_getaffinity(0))'
  for share, expected in (((one,), {one}), ((), before), ((100_000,), before)):
    with processor.starting_on(share):
      child = subprocess.run([sys.executable, '-c', code], capture_output=True, check=True)
    assert set(map(int, child.stdout.split())) == expected
    assert os.sched_getaffinity(0) == before
