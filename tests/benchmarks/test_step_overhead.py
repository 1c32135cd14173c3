"""The two ways of making a step are compared, and nothing else is measured."""

import re

import pytest

from benchmarks import command_line
from benchmarks.speed import step_overhead

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')


@pytest.mark.slow
def test_the_medians_are_compared(monkeypatch, capsys) -> None:
  monkeypatch.setattr(step_overhead, 'set_up_process', lambda: None)
  words = ['--config=configs/lr.py', '--steps=7', '--repeats=1', '--config.batch_size=512']
  command_line.main(['step_overhead', *words])  # seven updates are more than were awaited at once
  bare, ours, overhead = capsys.readouterr().out.splitlines()
  bare_ms, ours_ms = (
    float(re.fullmatch(rf'{name}: ([\d.]+) ms per step, spread 0\.000', line)[1])
    for name, line in (('bare', bare), ('ours', ours))
  )
  percent = float(overhead.removeprefix('overhead: ').removesuffix(' %'))
  assert percent == pytest.approx(100 * (ours_ms / bare_ms - 1), abs=0.5)
