import pytest

from benchmarks.workers import Measurement, Worker, take_turns


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
  columns = take_turns(workers, repeats=3, seconds=1.0)  # type: ignore[arg-type]
  assert log[-6:] == [('a', 10), ('b', 10)] * 3
  assert all(worker.closed for worker in workers.values())
  row = columns['a']
  assert (row['images_per_second'], row['lowest'], row['highest']) == (500.0, 250.0, 500.0)
  assert row['cpu_ms_per_image'] == 4.0  # 0.2 s of CPU a step of 50 images
  assert (row['start_seconds'], row['first_step_seconds']) == (1.5, 3.0)
  assert row['peak_memory_mb'] == 107


def test_a_mistaken_config_is_one_sentence(capfd) -> None:
  """It was a traceback."""
  with pytest.raises(SystemExit, match='the process of ours ended'):
    Worker('ours', 'configs/nope.py')
  assert capfd.readouterr().err.startswith('--config=configs/nope.py: there is no such file')


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
