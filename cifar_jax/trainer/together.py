"""Many runs trained in one program, which differ in their seed and in a few numbers.

Each run's folder is afterwards what `loop.train` leaves, but for `runs_together` in its summary:
either goes on with the other's. The batches are the same, order, augmentation and dropout included,
since they follow from (seed, step); parameters are the same up to the rounding of float32, since a
product over a batch of runs may add up in another order.

The program keeps its shape while it is used: runs that have ended by a loss that is not finite, or
that wait for others to catch up, are computed along and what comes of it is not looked at. So what
the others compute stays the same, bit for bit, also when an interrupted session goes on.
"""

import collections
import contextlib
import dataclasses
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.analysis import layer_table
from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.trainer import cached_features, resume, run_summary, together_rules
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.many_programs import ManyPrograms
from cifar_jax.trainer.opened_run import OpenedRun, open_run
from cifar_jax.trainer.recipe import make_schedule
from cifar_jax.trainer.session import DISPATCHES_AHEAD, Callback, RunSession
from cifar_jax.trainer.varied import make_varied_recipe, objection
from cifar_jax.training.steps import StepMetrics, TrainState
from cifar_jax.utils.errors import UserError

ExtraCallbacks = Callable[[ConfigDict], Sequence[Callback]]
AsLaunched = Callable[[ConfigDict, pathlib.Path], contextlib.AbstractContextManager[None]]


class NotTogetherError(UserError):
  """These runs cannot be one program, or would not gain by it; nothing was begun."""


def train(
  several: Sequence[ConfigDict],
  runs: Sequence[pathlib.Path],
  progress: Progress,
  startup_note: str = '',
  extra_callbacks: ExtraCallbacks = lambda config: (),
  only_if_faster: bool = False,
  as_launched: AsLaunched = lambda config, run: contextlib.nullcontext(),
  stop: Stop | None = None,
) -> list[dict[str, Any] | UserError]:
  """Trains, or continues, the runs in some folders, as many at a time as the memory holds.

  Args:
    several: The config of each run, locked; they may differ where `varied.may_differ` says.
    runs: Their folders, made if missing.
    progress: Shows means over the runs that are trained.
    startup_note: What was set before JAX started, for the header.
    extra_callbacks: What else is to happen around the updates of a run, as in `loop.train`.
    only_if_faster: Whether to refuse where one run after the other takes less time.
    as_launched: (config, folder) -> what is to hold while that run's summary is written.
    stop: That of a block around several trainings, so that one signal stops all; None: a new one.

  Returns:
    For each run the content of summary.json; {} if a signal stopped it before its end; or the error
    that stopped it alone, which the user was told: its loss is not finite.

  Raises:
    NotTogetherError: They cannot be one program, or gain nothing by it.
    UserError: As `loop.train` raises it for any of them.
  """
  for config in several:
    configs.validate(config)
  reason = objection(several) or (
    'several processes train one run' if jax.process_count() > 1 else ''
  )
  if reason:
    raise NotTogetherError(f'these runs cannot be trained in one program: {reason}')
  outcomes: list[dict[str, Any] | UserError] = []
  for config, run in zip(several, runs, strict=True):
    configs.validate_config_unchanged(config, run)
    outcomes.append(resume.finished(config, run, progress))
  left = [index for index, outcome in enumerate(outcomes) if not outcome]
  if not left:
    return outcomes

  splits = _load(several)
  lead = build_trainer(several[0], splits[0])
  if reason := _objection_to_data(lead, len(splits) > 1):
    raise NotTogetherError(f'these runs cannot be trained in one program: {reason}')
  if only_if_faster and (reason := together_rules.slower(lead)):
    raise NotTogetherError(f'one run after the other is faster: {reason}')
  at_once, programs = _programs_that_fit(lead, [several[i] for i in left], splits)
  if at_once == 1 < len(left):
    raise NotTogetherError('these runs cannot be trained in one program: the memory holds one')
  network = layer_table.describe(lead.recipe.module, splits[0].image_shape)
  with stop_signals(stop) as stop:
    for start in range(0, len(left), at_once):
      part = left[start : start + at_once]
      own = [splits[i % len(splits)] for i in part]  # there is one for all, or one for each
      configs_of_part = [several[i] for i in part]
      if start:
        programs = _programs(lead, configs_of_part, len(splits) > 1)
      group = _Group(programs, configs_of_part, own, stop)
      with group.opened([runs[i] for i in part], network, progress, extra_callbacks, startup_note):
        try:
          found = group.train(as_launched)
        except jax.errors.JaxRuntimeError as error:
          if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
          raise UserError(
            f'{len(part)} runs in one program need more memory than was foreseen; one run after '
            'the other goes on from what is saved: --together=no'
          ) from error
      for i, outcome in zip(part, found, strict=True):
        outcomes[i] = outcome
      if stop.asked:
        break
  return outcomes


def _load(several: Sequence[ConfigDict]) -> list[Splits]:
  """The data of each run, or one for all."""
  config = several[0]
  of_seed = config.data.validation_from == 'random' and config.data.validation != 'test'
  same_seed = len({config.seed for config in several}) == 1
  found = [
    data.with_shared_images_noted(data.load_splits(config))
    for config in (several if of_seed and not same_seed else several[:1])
  ]
  for config, splits in zip(several, found, strict=False):
    data.check_classes_left(splits, config.data.validation)
  first, *others = (splits.train.labels for splits in found)
  same = all(len(labels) == len(first) and (labels == first).all() for labels in others)
  held = [splits.facts for splits in found]
  return found[:1] if same and all(facts == held[0] for facts in held) else found


def _objection_to_data(trainer: Trainer, own_data: bool) -> str:
  """As `varied.objection`, of what the data and the devices tell."""
  if cached_features.are_cached(trainer.recipe.module):
    return 'features of the images are computed once for each run'
  if trainer.generator == 'rbg':
    return (
      "the generator 'rbg' draws other numbers for many keys at once; use --config.rng=threefry"
    )
  if sharding.platform(trainer.mesh) == 'cpu' and trainer.mesh.size > 1:
    return 'the kernels for CPU cannot be divided among several devices; use --config.devices=1'
  if own_data and (trainer.recipe.statistics is not None or trainer.config.whitening.layer):
    return (
      'each seed holds out other images, and what they are normalized or whitened by follows from '
      "the rest; use --config.data.validation_from='last'"
    )
  return ''


def _programs_that_fit(
  lead: Trainer, several: Sequence[ConfigDict], splits: Sequence[Splits]
) -> tuple[int, ManyPrograms]:
  """The number of runs that the memory holds, and the programs of the first so many."""
  own_data = len(splits) > 1
  at_least = together_rules.lower_bound(lead, splits[0], own_data)
  made: dict[int, ManyPrograms] = {}

  def compiled(runs: int) -> float:
    made[runs] = _programs(lead, several[:runs], own_data)
    return made[runs].bytes_needed(splits[0].train)

  there = sharding.bytes_of_a_device(lead.mesh)
  fits = together_rules.most_that_fit(len(several), there or math.inf, at_least, compiled)
  return fits, made.get(fits) or _programs(lead, several[:fits], own_data)


def _programs(lead: Trainer, several: Sequence[ConfigDict], own_data: bool) -> ManyPrograms:
  varied_recipe = make_varied_recipe(lead.recipe, lead.config, several, lead.plan)
  trainer = dataclasses.replace(lead, config=several[0], recipe=varied_recipe(jnp.int32(0)))
  return ManyPrograms(trainer, varied_recipe, len(several), own_data)


@dataclasses.dataclass(eq=False)
class _Lane:
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


class _Group:
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
    startup_note: str,
  ) -> Iterator[None]:
    """Holds the folders of the runs while they are trained, and says what is trained."""
    self._progress = progress
    progress.split_note = run_summary.split_note(self._splits[0])
    around = pathlib.Path(os.path.commonpath([folder.parent for folder in folders]))
    names = ', '.join(str(folder.relative_to(around)) for folder in folders)
    header = run_summary.header(self._trainer, self._splits[0], network, around, startup_note)
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
  ) -> _Lane:
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
    return _Lane(opened, session, state, opened.step, writing)

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

  def _going(self) -> list[_Lane]:
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
    self._progress.start_epoch(
      step // per_epoch + 1, trainer.epochs, self._steps_of_epoch(step), step % per_epoch
    )
    first = True
    while step < until and not self._stop.asked and active:
      if step // per_epoch != ordered_epoch:
        ordered_epoch = step // per_epoch
        epoch = sharding.replicate(ordered_epoch, trainer.mesh)
        order = programs.epoch_order(self._keys, epoch)
      count = min(trainer.dispatch_length(step, supports_scan=True), until - step)
      state = self._dispatch(state, order, step, count, active)
      step += count
      self._progress.advance(count)
      ends_epoch = step % per_epoch == 0 or step == trainer.total_steps
      every = trainer.config.checkpoint.every_steps
      if ends_epoch or first or (every and step % every == 0) or step == until:
        first = False
        self._drain(active)
        active = self._handed_out(state, step, count, active, ends_epoch)
        if ends_epoch and active:
          self._end_epoch(state, step, active)
    if active and active[0].step < step:  # stopped between two of those moments
      self._drain(active)
      self._take(state, step, [lane for lane in active if lane.error is None])

  def _steps_of_epoch(self, step: int) -> int:
    trainer, position = self._trainer, step % self._trainer.steps_per_epoch
    return min(trainer.steps_per_epoch, trainer.total_steps - (step - position))

  def _dispatch(
    self, state: TrainState, order: Any, step: int, count: int, active: Sequence[_Lane]
  ) -> TrainState:
    trainer = self._trainer
    masked = trainer.short_last_batch and (step + count) % trainer.steps_per_epoch == 0
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

  def _drain(self, active: Sequence[_Lane]) -> None:
    start = time.perf_counter()
    while self._under_way:
      self._look_at(*self._under_way.popleft(), active)
    for lane in active:
      lane.session.timer.trained(time.perf_counter() - start)

  def _look_at(self, step: int, metrics: StepMetrics, active: Sequence[_Lane]) -> None:
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

  def _take(self, state: TrainState, step: int, active: Sequence[_Lane]) -> None:
    """Hands the runs their states out of the program's."""
    states = self._programs.split(state)
    for run, lane in enumerate(self._lanes):
      if lane in active:
        lane.state, lane.step = states[run], step

  def _handed_out(
    self, state: TrainState, step: int, count: int, active: Sequence[_Lane], ends_epoch: bool
  ) -> list[_Lane]:
    """Lets the callbacks of the runs see their states; returns those that go on."""
    active = [lane for lane in active if lane.error is None]
    self._take(state, step, active)
    for lane in active:
      for callback in lane.session.callbacks:
        callback.after_updates(lane.session, lane.state, step, count)
      lane.session.background.check()
    return active

  def _end_epoch(self, state: TrainState, step: int, active: Sequence[_Lane]) -> None:
    trainer, every = self._trainer, self._trainer.config.evaluate.every_epochs
    epoch = -(-step // trainer.steps_per_epoch)
    if step == trainer.total_steps or (every and epoch % every == 0):
      self._measured = self._programs.evaluate(state, self._validation)
    for lane in active:
      lane.session.end_epoch(lane.state, step)
    rows = [lane.session.rows[-1] for lane in active]
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    left = active[0].session.seconds_left(step) or 0.0
    self._progress.end_epoch(epoch, trainer.epochs, means, left)
    if step < trainer.total_steps:
      self._progress.start_epoch(epoch + 1, trainer.epochs, self._steps_of_epoch(step), 0)

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
        test = self._programs.evaluate(
          state, self._programs.place([one.test for one in self._splits])
        )
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
