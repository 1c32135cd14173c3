"""The README's table is what the CSV files say."""

import shutil

from benchmarks import tables
from benchmarks.results import claims


def test_the_readme_has_the_table(tmp_path) -> None:
  page = tmp_path / 'README.md'
  shutil.copy(claims.README, page)
  tables.replace_in(page, 'claims', claims.markdown())
  assert page.read_text() == claims.README.read_text()
  assert claims.markdown().count('\n') <= 12  # eleven rows below the head


def test_a_recipe_is_its_newest_measurement() -> None:
  common = {'config': 'configs/fast83.py', 'devices': '1 cpu device (cpu)', 'processor': 'X'}
  rows = [
    common | {'overrides': flags, 'xla_flags': '', 'test_accuracy': str(a), 'seconds': str(s)}
    for flags, a, s in (('--old', 0.5, 90), ('', 0.83, 40), ('', 0.84, 42))
  ]
  line = claims._recipe(rows, 'fast83', 'cpu')
  assert line == '| `fast83` |  | 83.50 ± 0.71 % | 2 | 41.0 ± 1.4 s | X |'


def test_where_the_test_set_validated_the_row_says_so() -> None:
  lines = {line.split('`')[1]: line for line in claims.markdown().splitlines()[2:]}
  assert {name for name, line in lines.items() if '¹' not in line} == {
    'fast83',
    'fast90',
    'episode2',
  }
