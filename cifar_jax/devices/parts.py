"""One traced function as several programs, so that all but its calls of oneDNN are compiled once.

XLA cannot store a program that calls oneDNN, so every process would compile the whole of a training
step anew: seconds. Here the function is traced as ever, and what was traced is divided: programs
that hold nothing but calls of oneDNN, compiled anew in milliseconds, and between them programs that
JAX keeps in its compilation cache. XLA fuses nothing across such a call, so little is lost: the
arrays that pass from one part to the next are those that the one program would hold as well.

A function without such calls stays one program; so does one on several devices, or not on CPU.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import inspect
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from cifar_jax.ops import onednn

# Calls whose body takes their place.
_CALLS = ('jit', 'pjit', 'closed_call', 'core_call', 'custom_jvp_call', 'custom_vjp_call')
# Operations that XLA makes no code for, so that they may stand beside calls of oneDNN.
_VIEWS = ('reshape', 'squeeze', 'expand_dims')
_GAIN = 4  # how much smaller the inputs of an operation have to be for it to wait with them
_DEPTH = 30  # operations that are looked at for what a value can be made of
_SECONDS_KEPT = 'jax_persistent_cache_min_compile_time_secs'
_COMPILING = threading.Lock()  # the setting above is one for the process


class InParts:
  """A compiled function, called like the function itself; see `compiled`."""

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
    key = (tree, *constant.values(), *((leaf.shape, leaf.dtype) for leaf in leaves))
    program = self._programs.get(key)
    if program is None:
      program = self._programs[key] = self._compile(arguments, options, constant)
    return program(leaves)

  def _compile(self, arguments: Any, options: Any, constant: Any) -> Callable[[list[Any]], Any]:
    traced = self._whole.trace(*arguments, **options, **constant)
    divided = _Division(traced.jaxpr)
    if not divided.calls_library or traced.jaxpr.effects:
      structure = jax.tree.structure((arguments, options))

      def whole(leaves: list[Any]) -> Any:
        positional, named = jax.tree.unflatten(structure, leaves)
        return self._whole(*positional, **named, **constant)

      return whole
    donated: range = range(0)
    if self._donated is not None:
      start = len(jax.tree.leaves(arguments[: self._donated]))
      donated = range(start, start + len(jax.tree.leaves(arguments[self._donated])))
    run = _Run(divided, donated, self._sharding)
    tree = jax.tree.structure(traced.out_info)
    return lambda leaves: jax.tree.unflatten(tree, run(leaves))


@dataclasses.dataclass(eq=False)
class _Value:
  """An array that an operation reads or makes.

  Attributes:
    aval: Its shape and dtype.
    constant: The array itself, where it is part of the traced function; None elsewhere.
  """

  aval: Any
  constant: Any = None

  @property
  def size(self) -> int:
    """Its bytes; keys of random numbers count as small."""
    return math.prod(self.aval.shape) * getattr(self.aval.dtype, 'itemsize', 8)

  @property
  def struct(self) -> jax.ShapeDtypeStruct:
    """Its shape and dtype as `lower` takes them."""
    aval = self.aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


@dataclasses.dataclass(eq=False)
class _Operation:
  """What is made of some values.

  Attributes:
    apply: (arrays of the inputs) -> arrays of the outputs.
    library: Whether it calls oneDNN.
    view: Whether XLA makes no code for it.
  """

  apply: Callable[..., Sequence[Any]]
  inputs: list[_Value]
  outputs: list[_Value]
  library: bool = False
  view: bool = False


class _Division:
  """The operations of a traced function, each in a stage.

  Calls of oneDNN are in the stages 1, 3, 5 ..., all others between them. An operation is made as
  soon as its inputs are there, or as late as its outputs are needed where that holds no more memory
  meanwhile: then what it makes need not pass from one program to another.

  Attributes:
    inputs: What the function takes.
    outputs: What it gives, each once.
    stages: The operations of each stage, in order.
  """

  def __init__(self, traced: core.ClosedJaxpr):
    self._operations: list[_Operation] = []
    self._known: dict[Any, list[_Value]] = {}
    self.inputs = [_Value(variable.aval) for variable in traced.jaxpr.invars]
    found = self._add(traced, self.inputs)
    self.outputs = list(map(self._alone, found, range(len(found)), [found] * len(found)))
    self.calls_library = any(operation.library for operation in self._operations)
    self.stages = self._in_stages()

  def _add(self, traced: core.ClosedJaxpr, inputs: Sequence[_Value]) -> list[_Value]:
    """Adds the operations of a traced function; returns its outputs."""
    jaxpr = traced.jaxpr
    values: dict[core.Var, _Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, constant in zip(jaxpr.constvars, traced.consts, strict=True):
      values[variable] = _Value(variable.aval, constant)

    def read(atom: Any) -> _Value:
      return _Value(atom.aval, atom.val) if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
      made = self._add_equation(equation, list(map(read, equation.invars)))
      values.update(zip(equation.outvars, made, strict=True))
    return list(map(read, jaxpr.outvars))

  def _add_equation(self, equation: core.JaxprEqn, inputs: list[_Value]) -> list[_Value]:
    library = _calls_library(equation)
    if library and equation.primitive.name in _CALLS:
      (body,) = (
        p for p in equation.params.values() if isinstance(p, core.ClosedJaxpr | core.Jaxpr)
      )
      closed = core.ClosedJaxpr(body, ()) if isinstance(body, core.Jaxpr) else body
      return self._add(closed, inputs)
    key = _identity(equation, inputs)
    if key is None or key not in self._known:
      outputs = [_Value(variable.aval) for variable in equation.outvars]
      view = equation.primitive.name in _VIEWS
      operation = _Operation(_apply(equation), inputs, outputs, library, view)
      self._operations.append(operation)
      if key is None:
        return outputs
      self._known[key] = outputs
    return self._known[key]

  def _alone(self, value: _Value, place: int, outputs: Sequence[_Value]) -> _Value:
    """The value itself, or a copy where it is an output already, or none of any operation.

    A caller may give away the memory of one output and go on to use another.
    """
    if value.constant is None and value not in outputs[:place]:
      return value
    copy = _Value(value.aval)
    self._operations.append(_Operation(lambda array: [array], [value], [copy]))
    return copy

  def _in_stages(self) -> list[list[_Operation]]:
    made: dict[_Value, int] = {}
    maker: dict[_Value, _Operation] = {}
    earliest: dict[_Operation, int] = {}
    for operation in self._operations:
      stage = max((made[value] for value in operation.inputs if value in made), default=0)
      earliest[operation] = stage + operation.library
      made |= dict.fromkeys(operation.outputs, stage + 2 * operation.library)
      maker |= dict.fromkeys(operation.outputs, operation)
    end = max(made.values(), default=0)
    first = dict.fromkeys(self.outputs, end)  # the stage in which a value is needed first
    last = dict.fromkeys(self.outputs, end)  # and last
    known: dict[tuple[_Value, int], int] = {}

    def held(value: _Value, stage: int, depth: int = 0) -> int:
      """The bytes to keep until a stage, for a value to be there or made there."""
      if value not in maker or last.get(value, -1) >= stage - 2:
        return 0  # it is there anyhow
      operation = maker[value]
      if operation.library or depth > _DEPTH:
        return value.size
      if (value, stage) not in known:
        makings = sum(held(one, stage, depth + 1) for one in set(operation.inputs))
        known[value, stage] = min(value.size, makings)
      return known[value, stage]

    stages: list[list[_Operation]] = [[] for _ in range(end + 1)]
    for operation in reversed(self._operations):
      needed = min((first[value] for value in operation.outputs if value in first), default=None)
      if needed is None:
        continue  # nobody needs it
      stage = earliest[operation]
      latest = needed if operation.view or needed % 2 == 0 else needed - 1
      if not operation.library and latest > stage:
        kept = sum(held(value, latest) for value in set(operation.inputs))
        if operation.view or _GAIN * kept <= sum(value.size for value in operation.outputs):
          stage = latest
      stages[stage].append(operation)
      for value in operation.inputs:
        first[value] = min(first.get(value, end), stage)
        last[value] = max(last.get(value, 0), stage)
    return [stage[::-1] for stage in stages]


class _Run:
  """The compiled programs of a division, one after the other."""

  def __init__(
    self, divided: _Division, donated: Sequence[int], sharding: jax.sharding.Sharding | None
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

  def __init__(self, operations: Sequence[_Operation], after: set[_Value], given: set[_Value]):
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
  with (
    _COMPILING,
    concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, 'compile') as threads,
  ):
    kept = jax.config.values[_SECONDS_KEPT]
    compiling: dict[_Part, concurrent.futures.Future[Any]] = {}
    waiting: dict[_Part, jax.stages.Lowered] = {}
    # XLA takes a call of oneDNN for one that it can store, and would write whatever is in memory
    # there. So the others are made ready meanwhile, and compiled when those with calls are.
    jax.config.update(_SECONDS_KEPT, math.inf)
    try:
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
    finally:
      jax.config.update(_SECONDS_KEPT, kept)


def _submit(
  threads: concurrent.futures.Executor,
  waiting: dict[_Part, jax.stages.Lowered],
  compiling: dict[_Part, concurrent.futures.Future[Any]],
) -> None:
  """Lets threads compile what waits for it, to be kept."""
  jax.config.update(_SECONDS_KEPT, 0.0)
  compiling |= {part: threads.submit(lowered.compile) for part, lowered in waiting.items()}
  waiting.clear()


def _apply(equation: core.JaxprEqn) -> Callable[..., Sequence[Any]]:
  primitive = equation.primitive

  def apply(*inputs: Any) -> Sequence[Any]:
    with equation.ctx.manager:
      found = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
    return found if primitive.multiple_results else [found]

  return apply


def _identity(equation: core.JaxprEqn, inputs: Sequence[_Value]) -> Any:
  """What two operations share that make the same of the same; None where that cannot be told."""
  if equation.effects:
    return None
  read = tuple(
    id(value) if value.constant is None else (str(value.aval), repr(value.constant))
    for value in inputs
  )
  if any(np.ndim(value.constant) for value in inputs):
    return None  # the text of an array leaves numbers out
  try:
    key = (equation.primitive, read, tuple(sorted(equation.params.items())))
    hash(key)
  except TypeError:
    return None
  return key


def _calls_library(equation: core.JaxprEqn) -> bool:
  if equation.primitive.name == 'ffi_call':
    return str(equation.params['target_name']).startswith(onednn.TARGETS)
  return any(map(_has_call, core.jaxprs_in_params(equation.params)))


@functools.lru_cache(4096)
def _has_call(jaxpr: core.Jaxpr) -> bool:
  return any(map(_calls_library, jaxpr.eqns))
