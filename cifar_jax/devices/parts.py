"""One traced function as several programs, so that all but its calls of oneDNN are compiled once.

XLA cannot store a program that calls oneDNN, so every process would compile the whole of a training
step anew: seconds. Here the function is traced as ever, and what was traced is divided: programs
that hold nothing but calls of oneDNN, compiled anew in milliseconds, and between them programs that
JAX keeps in its compilation cache. XLA fuses nothing across such a call, so little is lost: the
arrays that pass from one part to the next are those that the one program would hold as well.
"""

import collections
import concurrent.futures
import inspect
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
from absl import logging

if TYPE_CHECKING:
  from cifar_jax.devices.division import Division, Operation, Value

_SECONDS_KEPT = 'jax_persistent_cache_min_compile_time_secs'
# What reading and building equations raises where a version of JAX has others.
_ANOTHER_JAX = (ImportError, AttributeError, LookupError, TypeError, ValueError)
_COMPILING = threading.Lock()  # the setting above is one for the process


class InParts:
  """A compiled function, called like the function itself.

  The first call with arguments of other shapes, dtypes or devices compiles it anew. It stays one
  program where it calls no oneDNN, has effects, or is for several devices; and where a version of
  JAX has traced functions of another form, which a warning says.

  Args:
    function: Any function of arrays.
    donated: The name of the argument, given by its place, whose memory the function may reuse.
    static: The name of the argument, given by its name, that is part of the program.
    sharding: Where the results are, if not where the arguments are.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    donated: str | None = None,
    static: str | None = None,
    sharding: jax.sharding.Sharding | None = None,
  ):
    self._static, self._sharding = static, sharding
    self._donated = donated and list(inspect.signature(function).parameters).index(donated)
    options: dict[str, Any] = {} if sharding is None else {'out_shardings': sharding}
    self._whole = jax.jit(function, donate_argnames=donated, static_argnames=static, **options)
    self._programs: dict[Any, Callable[[list[Any]], Any]] = {}
    self.lower = self._whole.lower  # as `jax.jit` has it

  def __call__(self, *arguments: Any, **options: Any) -> Any:
    """Calls the function; compiles it first, if need be."""
    constant = {self._static: options.pop(self._static)} if self._static in options else {}
    leaves, tree = jax.tree.flatten((arguments, options))
    key = (tree, *constant.values(), *map(self._kind, leaves))
    program = self._programs.get(key)
    if program is None:
      program = self._programs[key] = self._compile(leaves, arguments, options, constant)
    return program(leaves)

  def _kind(self, leaf: Any) -> Any:
    """What there is another program for."""
    kind = leaf.shape, leaf.dtype, getattr(leaf, 'weak_type', False)
    return kind if self._sharding else (*kind, _devices(leaf))

  def _compile(
    self, leaves: Sequence[Any], arguments: Any, options: Any, constant: Any
  ) -> Callable[[list[Any]], Any]:
    traced = self._whole.trace(*arguments, **options, **constant)
    try:
      run = self._in_parts(traced, leaves, arguments)
    except _ANOTHER_JAX as error:
      reason = f'{type(error).__name__}: {error}'[:200]
      logging.warning('a step is one program, which each process compiles anew: %s', reason)
      run = None
    if run is None:
      structure = jax.tree.structure((arguments, options))

      def whole(leaves: list[Any]) -> Any:
        positional, named = jax.tree.unflatten(structure, leaves)
        return self._whole(*positional, **named, **constant)

      return whole
    tree = jax.tree.structure(traced.out_info)
    return lambda leaves: jax.tree.unflatten(tree, run(leaves))

  def _in_parts(
    self, traced: Any, leaves: Sequence[Any], arguments: Any
  ) -> Callable[[list[Any]], list[Any]] | None:
    """The programs of a traced function, compiled; None where it is to be one program."""
    from cifar_jax.devices.division import Division  # here, since it needs much of JAX

    sharding, devices = self._sharding, set().union(*map(_devices, leaves))
    if sharding is None and len(devices) == 1:
      sharding = jax.sharding.SingleDeviceSharding(*devices)
    if traced.jaxpr.effects or len(devices) > 1:
      return None
    divided = Division(traced.jaxpr)
    if not divided.calls_library:
      return None
    donated: range = range(0)
    if self._donated is not None:
      start = len(jax.tree.leaves(arguments[: self._donated]))
      donated = range(start, start + len(jax.tree.leaves(arguments[self._donated])))
    return _Run(divided, donated, sharding)


def _devices(leaf: Any) -> frozenset[jax.Device]:
  """Those that an array has to stay on; none if JAX may move it."""
  return frozenset(leaf.devices()) if getattr(leaf, 'committed', False) else frozenset()


class _Run:
  """The compiled programs of a division, one after the other."""

  def __init__(
    self, divided: 'Division', donated: Sequence[int], sharding: jax.sharding.Sharding | None
  ):
    self._inputs, self._outputs = divided.inputs, divided.outputs
    given = {divided.inputs[index] for index in donated}
    stages = [stage for stage in divided.stages if stage]
    after = set(divided.outputs)
    parts = []
    for stage in reversed(stages):
      part = _Part(stage, after, given)
      after = (after - set(part.outputs)) | set(part.inputs)
      parts.append(part)
    self._parts = parts[::-1]
    _compile_all(self._parts, sharding)

  def __call__(self, arrays: list[Any]) -> list[Any]:
    held = dict(zip(self._inputs, arrays, strict=True))
    arrays.clear()  # so that each can be freed after its last use
    for part in self._parts:
      inputs = [held[value] for value in part.inputs]
      for value in part.ended:
        del held[value]
      outputs = part.program(*inputs)
      del inputs
      held.update(zip(part.outputs, outputs, strict=True))
      del outputs
    return [held[value] for value in self._outputs]


class _Part:
  """One program.

  Attributes:
    inputs: What it reads.
    outputs: What it makes for later parts.
    ended: The inputs that no later part reads.
    library: Whether it calls oneDNN.
    program: What computes it, once it is compiled.
  """

  program: Callable[..., Sequence[Any]]

  def __init__(self, operations: Sequence['Operation'], after: set['Value'], given: set['Value']):
    made = dict.fromkeys(value for operation in operations for value in operation.outputs)
    read = dict.fromkeys(value for operation in operations for value in operation.inputs)
    self.inputs = [value for value in read if value not in made and value.constant is None]
    self.outputs = [value for value in made if value in after]
    self.ended = [value for value in self.inputs if value not in after]
    self.library = any(operation.library for operation in operations)
    self._operations = operations
    # JAX warns of memory that is given for nothing.
    room = collections.Counter((value.aval.shape, value.aval.dtype) for value in self.outputs)
    self._donated = []
    for index, value in enumerate(self.inputs):
      kind = (value.aval.shape, value.aval.dtype)
      if value in given and value in self.ended and room[kind] > 0:
        room[kind] -= 1
        self._donated.append(index)

  def lower(self, sharding: jax.sharding.Sharding | None, name: str) -> jax.stages.Lowered:
    """The part, ready to be compiled."""

    def compute(*arrays: Any) -> list[Any]:
      held = dict(zip(self.inputs, arrays, strict=True))
      for operation in self._operations:
        inputs = [held[v] if v.constant is None else v.constant for v in operation.inputs]
        held.update(zip(operation.outputs, operation.apply(*inputs), strict=True))
      return [held[value] for value in self.outputs]

    compute.__name__ = name
    options: dict[str, Any] = {} if sharding is None else {'out_shardings': sharding}
    compiled = jax.jit(compute, donate_argnums=self._donated, keep_unused=True, **options)
    return compiled.lower(*(value.struct.update(sharding=sharding) for value in self.inputs))


def _compile_all(parts: Sequence[_Part], sharding: jax.sharding.Sharding | None) -> None:
  """Compiles parts side by side; keeps all that can be kept."""
  with _COMPILING:
    kept = jax.config.values[_SECONDS_KEPT]
    # XLA takes a call of oneDNN for one that it can store, and would write whatever is in memory
    # there. So the others are made ready meanwhile, and compiled when those with calls are.
    jax.config.update(_SECONDS_KEPT, math.inf)
    try:
      with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, 'compile') as threads:
        _compile_by(threads, parts, sharding)
    finally:  # when no thread compiles any more
      jax.config.update(_SECONDS_KEPT, kept)


def _compile_by(
  threads: concurrent.futures.Executor,
  parts: Sequence[_Part],
  sharding: jax.sharding.Sharding | None,
) -> None:
  compiling: dict[_Part, concurrent.futures.Future[Any]] = {}
  waiting: dict[_Part, jax.stages.Lowered] = {}
  for part in sorted(parts, key=lambda part: not part.library):
    lowered = part.lower(sharding, 'library' if part.library else 'part')
    if part.library:
      compiling[part] = threads.submit(lowered.compile)
      continue
    waiting[part] = lowered
    if all(future.done() for one, future in compiling.items() if one.library):
      _submit(threads, waiting, compiling)
  concurrent.futures.wait([future for part, future in compiling.items() if part.library])
  _submit(threads, waiting, compiling)
  for part, future in compiling.items():
    part.program = future.result()


def _submit(
  threads: concurrent.futures.Executor,
  waiting: dict[_Part, jax.stages.Lowered],
  compiling: dict[_Part, concurrent.futures.Future[Any]],
) -> None:
  """Lets threads compile what waits for it, to be kept."""
  jax.config.update(_SECONDS_KEPT, 0.0)
  compiling |= {part: threads.submit(lowered.compile) for part, lowered in waiting.items()}
  waiting.clear()
