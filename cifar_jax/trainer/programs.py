"""The programs of a run as shapes alone make them: to be compiled before they are needed, or for
devices that are not here.
"""

import functools
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.build import Trainer
from cifar_jax.training import steps, tta
from cifar_jax.training.losses import Metrics

VALIDATION, TEST = 'validation', 'test'  # the evaluation of these splits


def lower_updates(
  trainer: Trainer, images: Any, labels: Any, count: int, masked: bool = False
) -> list[Any]:
  """`count` updates as one program, not compiled yet, the only one in the list.

  Args:
    images: The training images, or what has their shape and dtype [N, H, W, C].
    labels: Likewise, [N].
    masked: Whether it is the one short batch of an epoch.
  """
  keys = _abstract(trainer, trainer.abstract_keys())
  order = _abstract(trainer, jax.eval_shape(trainer.epoch_order, keys, _number(trainer)))
  function: Any = trainer.train_steps(count)
  arguments = keys, trainer.abstract_state(), *_examples(trainer, images, labels), order
  return [function.lower(*arguments, masked=masked)]


def lower_evaluation(trainer: Trainer, images: Any, labels: Any) -> list[Any]:
  """The programs that evaluate batches of images that are on the devices, not compiled yet; see
  `lower_updates`. The last one is that with all test-time views.
  """
  recipe, evaluate = trainer.recipe, trainer.evaluate
  variables = steps.evaluated_variables(recipe, trainer.abstract_state())
  arguments = (
    *(variables['params'], variables['batch_stats']),
    *_examples(trainer, images, labels),
  )
  function: Any
  if recipe.task.measure is not None:
    function = evaluate.logits_step
    return [function.lower(*arguments, _number(trainer))]
  if not evaluate.selective:
    metrics = _abstract(trainer, jax.eval_shape(Metrics.empty))
    function = evaluate.eval_step
    return [function.lower(*arguments, _number(trainer), metrics)]
  count = tta.chosen_examples(recipe.tta_fraction, len(labels))
  chosen = _abstract(trainer, jax.ShapeDtypeStruct((count,), np.int32))
  return [
    evaluate.judges[views][0].lower(*arguments, indices, _number(trainer))
    for views, indices in (('none', None), (recipe.tta, chosen))
  ]


def dispatches(trainer: Trainer, first_step: int = 0) -> list[tuple[int, bool]]:
  """The kinds of dispatches, (count, masked), of a session that begins with `first_step` updates
  made and that nothing interrupts, as they come first.

  Only its first two epochs and the last one are looked at: all between are like the second.
  """
  per_epoch, total = trainer.steps_per_epoch, trainer.total_steps
  second = (first_step // per_epoch + 1) * per_epoch
  last = max(second, (total - 1) // per_epoch * per_epoch)
  epochs = ((first_step, second), (second, second + per_epoch), (last, total))
  found = [kind for first, end in epochs for kind in _dispatches(trainer, first, min(end, total))]
  return list(dict.fromkeys(found))


def _dispatches(trainer: Trainer, step: int, end: int) -> Iterator[tuple[int, bool]]:
  while step < end:
    count = trainer.dispatch_length(step, supports_scan=True)
    yield count, trainer.is_masked(step, count)
    step += count


class CompiledAhead:
  """Compiles the programs of a session in a thread, beside what comes before they are needed.

  They come one after the other, since the compiler uses many threads itself and keeps what it found
  out about a convolution for the next program. What fails here is left to the call that needs the
  program, and fails in the same way.
  """

  def __init__(self, trainer: Trainer, splits: Splits):
    """Compiles nothing yet.

    Args:
      splits: The data of the run.
    """
    self._trainer, self._splits = trainer, splits
    self._closed = False
    self._done: dict[Hashable, threading.Event] = {}

  def begin(self, first_step: int) -> None:
    """Begins, for a session with so many updates made; once.

    Nothing is compiled ahead where a step does not look at images on the devices, or for several
    processes, which have to compile in the same order.
    """
    trainer, config = self._trainer, self._trainer.config
    on_devices = config.data.placement == 'device' and config.parallel == 'jit'
    cached = cached_features.are_cached(trainer.recipe.module)
    if self._done or not on_devices or cached or jax.process_count() > 1:
      return
    # Made here, since a property that two threads ask for at once may be made twice.
    _ = trainer.evaluate, trainer.train_steps, trainer.epoch_order
    programs = self._programs(first_step)
    self._done = {name: threading.Event() for name in programs}
    # Not a daemon: a process that ends while XLA compiles waits for it.
    thread = threading.Thread(target=self._compile, args=(programs,), name='compiles ahead')
    try:
      thread.start()
    except RuntimeError:  # the system has no more threads
      self._done = {}

  def wait(self, program: Hashable) -> None:
    """Waits until `VALIDATION`, `TEST` or a (count, masked) is compiled, if it is being so."""
    if done := self._done.get(program):
      done.wait()

  def close(self) -> None:
    """Leaves out what is not begun; the program being compiled is compiled to its end."""
    self._closed = True

  def _programs(self, first_step: int) -> dict[Hashable, Callable[[], list[Any]]]:
    """What lowers each, in the order in which they are needed."""
    trainer, splits = self._trainer, self._splits
    train, measured = splits.train, {VALIDATION: splits.validation, TEST: splits.test}
    if not trainer.config.evaluate.test or len(splits.test) == len(splits.validation):
      del measured[TEST]
    lower: dict[Hashable, Callable[[], list[Any]]] = {
      kind: functools.partial(lower_updates, trainer, train.images, train.labels, *kind)
      for kind in dispatches(trainer, first_step)
    }
    for name, split in measured.items():
      lower[name] = functools.partial(lower_evaluation, trainer, split.images, split.labels)
    end_of_epoch = (first_step // trainer.steps_per_epoch + 1) * trainer.steps_per_epoch
    until = min(end_of_epoch, trainer.total_steps)
    soon: list[Hashable] = [*_dispatches(trainer, first_step, until), VALIDATION]
    return {name: lower[name] for name in soon} | lower

  def _compile(self, programs: dict[Hashable, Callable[[], list[Any]]]) -> None:
    for name, lower in programs.items():
      try:
        for program in [] if self._closed else lower():
          program.compile()  # JAX keeps it for the call with arrays of these shapes
      except Exception:
        pass
      finally:
        self._done[name].set()


def _abstract(trainer: Trainer, tree: Any) -> Any:
  return steps.abstract_state(tree, sharding.replicated(trainer.mesh))


def _number(trainer: Trainer) -> Any:
  return _abstract(trainer, jax.ShapeDtypeStruct((), jnp.int32))


def _examples(trainer: Trainer, images: Any, labels: Any) -> tuple[Any, Any]:
  shapes: tuple[Any, Any] = _abstract(trainer, (sharding.as_stored(images, trainer.mesh), labels))
  return shapes
