"""The runs that one program trains: their folders, their states and what becomes of each.

The program keeps its shape while it is used: runs that have ended by a loss that is not finite, or
that wait for others to catch up, are computed along and what comes of it is not looked at. So what
the others compute stays the same, bit for bit, also when an interrupted session goes on.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from cifar_jax.analysis import layer_table
from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import run_summary
from cifar_jax.trainer.many_programs import ManyPrograms
from cifar_jax.trainer.opened_run import OpenedRun, open_run
from cifar_jax.trainer.recipe import make_schedule
from cifar_jax.trainer.session import DISPATCHES_AHEAD, Callback, RunSession
from cifar_jax.training.steps import StepMetrics, TrainState
from cifar_jax.utils.errors import UserError

ExtraCallbacks = Callable[[ConfigDict], Sequence[Callback]]
AsLaunched = Callable[[ConfigDict, pathlib.Path], contextlib.AbstractContextManager[None]]


@dataclasses.dataclass(eq=False)
class Lane:
  """One run among those of a program.

  Attributes:
    state: Its state while the program does not hold it.
    step: The number of updates that it has.
    writing: Holds what writes metrics and checkpoints.
    error: What stopped it alone.
  """

  opened: OpenedRun
  session: RunSession
  state: TrainState
  step: int
  writing: contextlib.ExitStack
  error: UserError | None = None


class RunGroup:
  """Runs that one program trains.

  Args:
    several: Their configs.
    splits: The data of each, or one for all.
  """

  def __init__(
    self,
    programs: ManyPrograms,
    several: Sequence[ConfigDict],
    splits: Sequence[Splits],
    stop: Stop,
  ):
    self._trainer, self._programs = programs.trainer, programs
    self._several, self._splits, self._stop = several, splits, stop
    self._validation = self._programs.place([one.validation for one in splits])
    self._train = self._programs.place([one.train for one in splits])
    self._keys: Any = None
    self._measured: list[dict[str, float]] = []
    self._compiled: set[tuple[int, bool]] = set()
    self._under_way: collections.deque[tuple[int, StepMetrics]] = collections.deque()

  @contextlib.contextmanager
  def opened(
    self,
    folders: Sequence[pathlib.Path],
    network: layer_table.NetworkSummary,
    progress: Progress,
    extra_callbacks: ExtraCallbacks,
  ) -> Iterator[None]:
    """Holds the folders of the runs while they are trained, and says what is trained."""
    self._progress = progress
    progress.split_note = run_summary.split_note(self._splits[0])
    around = pathlib.Path(os.path.commonpath([folder.parent for folder in folders]))
    names = ', '.join(str(folder.relative_to(around)) for folder in folders)
    header = run_summary.header(self._trainer, self._splits[0], network, around)
    progress.note(
      f'{header}together    {len(folders)} in one program, lines show means over them: {names}\n'
    )
    with contextlib.ExitStack() as stack:
      self._lanes = [
        self._open(stack, run, config, folder, network, extra_callbacks)
        for run, (config, folder) in enumerate(zip(self._several, folders, strict=True))
      ]
      self._keys = self._programs.stack([lane.session.trainer.keys for lane in self._lanes])
      for lane in self._lanes:
        lane.opened.start_timer()
        lane.session.timer = lane.opened.timer
      yield

  def _open(
    self,
    stack: contextlib.ExitStack,
    run: int,
    config: ConfigDict,
    folder: pathlib.Path,
    network: layer_table.NetworkSummary,
    extra_callbacks: ExtraCallbacks,
  ) -> Lane:
    trainer = dataclasses.replace(
      self._trainer, config=config, schedule=make_schedule(config, self._trainer.plan)
    )
    splits = self._splits[run]
    opened = stack.enter_context(open_run(trainer, splits, network, folder))
    state = opened.begin(self._trainer.abstract_state(), lambda: self._trainer.init(trainer.keys))
    writing = stack.enter_context(contextlib.ExitStack())
    writer = opened.writer()
    writing.enter_context(writer)
    for note in (*opened.notes(), writer.note):
      if note:
        self._progress.note(f'{folder}: {note.rstrip()}')
    session = RunSession(
      folder=folder,
      trainer=trainer,
      splits=splits,
      evaluate=lambda _: self._measured[run],
      timer=opened.timer,
      rows=opened.rows,
      progress=Progress('silent'),
      writer=writer,
      background=writing.enter_context(Background(folder)),
      callbacks=opened.callbacks(state, extra_callbacks(config)),
    )
    return Lane(opened, session, state, opened.step, writing)

  def train(self, as_launched: AsLaunched) -> list[dict[str, Any] | UserError]:
    """Trains to the end, or until a stop was asked for and all is saved; outcomes as of `train`."""
    total = self._trainer.total_steps
    for lane in self._lanes:
      lane.session.start(lane.step)
    while (under := [lane for lane in self._going() if lane.step < total]) and not self._stop.asked:
      step = min(lane.step for lane in under)
      until = min((lane.step for lane in self._going() if lane.step > step), default=total)
      self._stretch(step, until)
    self._progress.close()
    interrupted = any(lane.step < total for lane in self._going())
    for lane in self._going():
      lane.session.end(lane.state, lane.step, interrupted and lane.step < total)
    if interrupted:
      self._stop.saved = True
      self._progress.note(
        f'stopped after step {max(lane.step for lane in self._going())} of {total} and saved; the '
        'same command goes on from there'
      )
    return self._outcomes(as_launched)

  def _going(self) -> list[Lane]:
    return [lane for lane in self._lanes if lane.error is None]

  def _stretch(self, step: int, until: int) -> None:
    """Trains the runs that have made `step` updates until they have made `until`, or are stopped.

    The program computes as many runs as ever; copies of a run that is trained stand in for those
    that are ended or further on.
    """
    trainer, programs, per_epoch = self._trainer, self._programs, self._trainer.steps_per_epoch
    active = [lane for lane in self._going() if lane.step == step]
    others = active[0].state
    state = programs.stack([lane.state if lane in active else others for lane in self._lanes])
    order, ordered_epoch = None, -1
    first = True
    while step < until and not self._stop.asked and active:
      if step // per_epoch != ordered_epoch:
        ordered_epoch = step // per_epoch
        self._start_epoch(step)
        epoch = sharding.replicate(ordered_epoch, trainer.mesh)
        order = programs.epoch_order(self._keys, epoch)
      count = min(trainer.dispatch_length(step, supports_scan=True), until - step)
      state = self._dispatch(state, order, step, count, active)
      step += count
      self._progress.advance(count)
      ends_epoch = trainer.ends_epoch(step)
      every = trainer.config.checkpoint.every_steps
      if ends_epoch or first or (every and step % every == 0) or step == until:
        first = False
        self._drain(active)
        active = self._handed_out(state, step, count, active)
        if ends_epoch and active:
          self._end_epoch(state, step, active)
    if active and active[0].step < step:  # stopped between two of those moments
      self._drain(active)
      self._take(state, step, [lane for lane in active if lane.error is None])

  def _start_epoch(self, step: int) -> None:
    trainer = self._trainer
    epoch, position = divmod(step, trainer.steps_per_epoch)
    self._progress.close()  # of runs that were behind
    self._progress.start_epoch(epoch + 1, trainer.epochs, trainer.steps_in_epoch(step), position)

  def _dispatch(
    self, state: TrainState, order: Any, step: int, count: int, active: Sequence[Lane]
  ) -> TrainState:
    trainer = self._trainer
    masked = trainer.is_masked(step, count)
    start = time.perf_counter()
    function = self._programs.train_steps(count)
    state, metrics = function(
      self._programs.indices, self._keys, state, *self._train, order, masked=masked
    )
    if (count, masked) not in self._compiled:
      jax.block_until_ready(metrics)
      self._compiled.add((count, masked))
      for lane in active:
        lane.session.timer.compiled(time.perf_counter() - start)
      self._look_at(step, metrics, active)
      return state
    self._under_way.append((step, metrics))
    if len(self._under_way) > DISPATCHES_AHEAD:
      self._look_at(*self._under_way.popleft(), active)
    for lane in active:
      images = count * trainer.config.batch_size
      lane.session.timer.trained(time.perf_counter() - start, images)
    return state

  def _drain(self, active: Sequence[Lane]) -> None:
    start = time.perf_counter()
    while self._under_way:
      self._look_at(*self._under_way.popleft(), active)
    for lane in active:
      lane.session.timer.trained(time.perf_counter() - start)

  def _look_at(self, step: int, metrics: StepMetrics, active: Sequence[Lane]) -> None:
    """Reads the metrics of a finished dispatch: ends the runs in which something is not finite."""
    found = jax.device_get(metrics)
    shown = []
    for run, lane in enumerate(self._lanes):
      if lane not in active or lane.error is not None:
        continue
      if found.bad_step[run] >= 0:
        lane.error = lane.opened.not_finite(int(found.bad_step[run]))
        lane.writing.close()
        self._progress.note(f'{lane.opened.folder} ends here, the others go on: {lane.error}')
      else:
        shown.append((float(found.loss[run]), float(found.accuracy[run])))
    if shown:
      loss, accuracy = (statistics.fmean(values) for values in zip(*shown, strict=True))
      left = active[0].session.seconds_left(step)
      self._progress.show(loss, accuracy, left)

  def _take(self, state: TrainState, step: int, active: Sequence[Lane]) -> None:
    """Hands the runs their states out of the program's."""
    states = self._programs.split(state)
    for run, lane in enumerate(self._lanes):
      if lane in active:
        lane.state, lane.step = states[run], step

  def _handed_out(
    self, state: TrainState, step: int, count: int, active: Sequence[Lane]
  ) -> list[Lane]:
    """Lets the callbacks of the runs see their states; returns those that go on."""
    active = [lane for lane in active if lane.error is None]
    self._take(state, step, active)
    for lane in active:
      for callback in lane.session.callbacks:
        callback.after_updates(lane.session, lane.state, step, count)
      lane.session.background.check()
    return active

  def _end_epoch(self, state: TrainState, step: int, active: Sequence[Lane]) -> None:
    trainer = self._trainer
    if trainer.is_validated(step):
      self._measured = self._programs.evaluate(state, self._validation)
    for lane in active:
      lane.session.end_epoch(lane.state, step)
    rows = [lane.session.rows[-1] for lane in active]
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    left = active[0].session.seconds_left(step) or 0.0
    self._progress.end_epoch(trainer.epoch_of(step), trainer.epochs, means, left)

  def _outcomes(self, as_launched: AsLaunched) -> list[dict[str, Any] | UserError]:
    """Measures the runs that are at their end, and writes their summaries when all is on disk."""
    total, config, splits = self._trainer.total_steps, self._trainer.config, self._splits[0]
    ended = [lane for lane in self._going() if lane.step == total]
    if not ended or any(lane.step < total for lane in self._going()):
      return [lane.error or {} for lane in self._lanes]
    others = ended[0].state
    state = self._programs.stack([lane.state if lane in ended else others for lane in self._lanes])
    if not all(lane.session.validation for lane in ended):
      self._measured = self._programs.evaluate(state, self._validation)
    validation = self._measured
    test: list[dict[str, float]] = [{} for _ in self._lanes]
    if config.evaluate.test:
      test = validation
      if not splits.validation_is_test or config.evaluate.drop_remainder:
        programs = self._programs
        placed = (
          programs.place_once(splits.test)  # the same, whatever a seed holds out
          if splits.has_test
          else programs.place([one.test for one in self._splits])
        )
        test = programs.evaluate(state, placed)
    for lane in ended:
      lane.writing.close()
    found: list[dict[str, Any] | UserError] = []
    for run, lane in enumerate(self._lanes):
      if lane.error is not None:
        found.append(lane.error)
        continue
      with as_launched(lane.session.trainer.config, lane.opened.folder):
        results = lane.opened.summarize(lane.state, validation[run], test[run], len(self._lanes))
      line = run_summary.closing(results, lane.opened.folder).strip().partition('\n')[0]
      self._progress.note(f'{lane.opened.folder}: {line}')
      found.append(results)
    lost = len(self._lanes) - len(ended)
    if lost:
      self._progress.note(f'{lost} of {len(self._lanes)} runs ended before: not finite')
    return found
