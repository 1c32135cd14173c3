import functools
import threading
from typing import Any

import pytest

from benchmarks import command_line
from benchmarks.speed import scaling, startup, throughput
from benchmarks.speed.systems.workers import Measurement, Worker, take_turns
from benchmarks.tables import RESULTS, read


class Scripted:
  """A worker whose turns are known: each step takes 0.1 s, but 0.2 s in its slowest turn."""

  batch_size, version, machine, start_seconds = 50, 'none', 'a machine', 1.5

  def __init__(self, log: list[tuple[str, int]], name: str):
    self._log, self._name, self.closed = log, name, False

  def measure(self, steps: int) -> Measurement:
    self._log.append((self._name, steps))
    turn = sum(name == self._name for name, _ in self._log)
    pace = {1: 3.0, 6: 0.2}.get(turn, 0.1)  # the first compiles
    return Measurement(steps, steps * pace, 2 * steps * pace, 100.0 + turn)

  def close(self) -> None:
    self.closed = True


def test_turns_are_interleaved_and_medians_taken() -> None:
  log: list[tuple[str, int]] = []
  workers = {name: Scripted(log, name) for name in 'ab'}
  start: Any = {name: functools.partial(workers.get, name) for name in workers}
  columns = take_turns(start, repeats=3, seconds=1.0)
  assert log[-6:] == [('a', 10), ('b', 10)] * 3
  assert all(worker.closed for worker in workers.values())
  row = columns['a']
  assert (row['images_per_second'], row['lowest'], row['highest']) == (500.0, 250.0, 500.0)
  assert row['cpu_ms_per_image'] == 4.0  # 0.2 s of CPU a step of 50 images
  assert (row['start_seconds'], row['first_step_seconds']) == (1.5, 3.0)
  assert row['peak_memory_mb'] == 107


def test_workers_that_start_beside_one_another_tell_no_seconds_of_it() -> None:
  """Each waits for the other to have started, so one after the other would never end."""
  both_started = threading.Barrier(2, timeout=60)

  def start(name: str) -> Any:
    both_started.wait()
    return Scripted([], name)

  columns = take_turns({name: functools.partial(start, name) for name in 'ab'}, 3, 1.0, beside=2)
  assert columns['b']['images_per_second'] == 500.0
  assert (columns['b']['start_seconds'], columns['b']['first_step_seconds']) == ('', '')


@pytest.mark.parametrize(
  ('verb', 'options', 'expected'),
  [
    (
      throughput,
      ['--configs=lr', '--systems=plain,ours', '--config.batch_size=50'],
      {'config': 'lr', 'overrides': '--config.batch_size=50', 'ratio': '1.0'},
    ),
    (
      scaling,
      ['--config=configs/lr.py', '--option=batch_size', '--values=50;50.'],
      {'config': 'lr', 'option': 'batch_size', 'step_ms': '100.0'},
    ),
    (
      startup,
      ['--configs=lr', '--systems=plain,ours'],
      {'config': 'lr', 'cache': 'cold', 'ready_seconds': '1.5', 'first_step_seconds': '4.5'},
    ),
  ],
)
def test_columns_are_those_of_the_kept_results(verb, options, expected, monkeypatch, tmp_path):
  """50 images in 0.1 s; 1.5 s until a worker is ready and 3 s until its first step is done."""
  log: list[tuple[str, int]] = []
  started = []

  def start(system: str, config: str, *rest: object, **more: object) -> Scripted:
    started.append((system, config))
    return Scripted(log, f'{system}{len(started)}')

  monkeypatch.setattr(verb, 'Worker', start)
  name = verb.__name__.rpartition('.')[2]
  out = tmp_path / 'made' / 'out.csv'
  command_line.main([name, *options, '--repeats=1', f'--out={out}'])
  row = read(out)[0]
  assert list(row) == list(read(RESULTS / f'{name}.csv')[0])
  assert {key: row[key] for key in expected} == expected
  assert started[0] == ('ours' if verb is scaling else 'plain', 'configs/lr.py')


def test_a_mistaken_config_is_one_sentence(capfd) -> None:
  """It was a traceback."""
  with pytest.raises(SystemExit, match='the process of ours ended'):
    Worker('ours', 'configs/nope.py')
  line = 'error: --config=configs/nope.py: there is no such file'
  assert capfd.readouterr().err.startswith(line)


@pytest.mark.slow
def test_a_real_process_answers() -> None:
  worker = Worker('ours', 'tests/helpers/tiny.py', ['--config.batch_size=16'])
  assert worker.batch_size == 16
  assert 'jax' in worker.version
  first, second = worker.measure(1), worker.measure(3)
  worker.close()
  assert (first.steps, second.steps) == (1, 3)
  assert first.seconds > second.seconds > 0  # the first compiles
  assert second.peak_memory_mb > 50
