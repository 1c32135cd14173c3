"""A traced function as operations in stages: calls of oneDNN in one, all others in the next.

It reads what JAX traced, and compiles nothing; `parts` does.
"""

import dataclasses
import math
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


@dataclasses.dataclass(eq=False)
class Value:
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
class Operation:
  """What is made of some values.

  Attributes:
    apply: (arrays of the inputs) -> arrays of the outputs.
    library: Whether it calls oneDNN.
    view: Whether XLA makes no code for it.
  """

  apply: Callable[..., Sequence[Any]]
  inputs: list[Value]
  outputs: list[Value]
  library: bool = False
  view: bool = False


class Division:
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
    self._operations: list[Operation] = []
    self._known: dict[Any, list[Value]] = {}
    self._with_call: dict[core.Jaxpr, bool] = {}
    self.inputs = [Value(variable.aval) for variable in traced.jaxpr.invars]
    found = self._add(traced, self.inputs)
    self.outputs = list(map(self._alone, found, range(len(found)), [found] * len(found)))
    self.calls_library = any(operation.library for operation in self._operations)
    self.stages = self._in_stages()

  def _add(self, traced: core.ClosedJaxpr, inputs: Sequence[Value]) -> list[Value]:
    """Adds the operations of a traced function; returns its outputs."""
    jaxpr = traced.jaxpr
    values: dict[core.Var, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, constant in zip(jaxpr.constvars, traced.consts, strict=True):
      values[variable] = Value(variable.aval, constant)

    def read(atom: Any) -> Value:
      return Value(atom.aval, atom.val) if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
      made = self._add_equation(equation, list(map(read, equation.invars)))
      values.update(zip(equation.outvars, made, strict=True))
    return list(map(read, jaxpr.outvars))

  def _add_equation(self, equation: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    library = self._calls_library(equation)
    if library and equation.primitive.name in _CALLS:
      (body,) = (
        p for p in equation.params.values() if isinstance(p, core.ClosedJaxpr | core.Jaxpr)
      )
      closed = core.ClosedJaxpr(body, ()) if isinstance(body, core.Jaxpr) else body
      return self._add(closed, inputs)
    key = _identity(equation, inputs)
    if key is None or key not in self._known:
      outputs = [Value(variable.aval) for variable in equation.outvars]
      view = equation.primitive.name in _VIEWS
      operation = Operation(_apply(equation), inputs, outputs, library, view)
      self._operations.append(operation)
      if key is None:
        return outputs
      self._known[key] = outputs
    return self._known[key]

  def _calls_library(self, equation: core.JaxprEqn) -> bool:
    if equation.primitive.name == 'ffi_call':
      return str(equation.params['target_name']).startswith(onednn.TARGETS)
    return any(map(self._has_call, core.jaxprs_in_params(equation.params)))

  def _has_call(self, jaxpr: core.Jaxpr) -> bool:
    if jaxpr not in self._with_call:  # some are in many equations
      self._with_call[jaxpr] = any(map(self._calls_library, jaxpr.eqns))
    return self._with_call[jaxpr]

  def _alone(self, value: Value, place: int, outputs: Sequence[Value]) -> Value:
    """The value itself, or a copy where it is an output already, or none of any operation.

    A caller may give away the memory of one output and go on to use another.
    """
    if value.constant is None and value not in outputs[:place]:
      return value
    copy = Value(value.aval)
    self._operations.append(Operation(lambda array: [array], [value], [copy]))
    return copy

  def _in_stages(self) -> list[list[Operation]]:
    made: dict[Value, int] = {}
    maker: dict[Value, Operation] = {}
    earliest: dict[Operation, int] = {}
    for operation in self._operations:
      stage = max((made[value] for value in operation.inputs if value in made), default=0)
      earliest[operation] = stage + operation.library
      made |= dict.fromkeys(operation.outputs, stage + 2 * operation.library)
      maker |= dict.fromkeys(operation.outputs, operation)
    end = max(made.values(), default=0)
    first = dict.fromkeys(self.outputs, end)  # the stage in which a value is needed first
    last = dict.fromkeys(self.outputs, end)  # and last
    known: dict[tuple[Value, int], int] = {}

    def held(value: Value, stage: int, depth: int = 0) -> int:
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

    stages: list[list[Operation]] = [[] for _ in range(end + 1)]
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


def _apply(equation: core.JaxprEqn) -> Callable[..., Sequence[Any]]:
  primitive = equation.primitive

  def apply(*inputs: Any) -> Sequence[Any]:
    with equation.ctx.manager:
      found = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
    return found if primitive.multiple_results else [found]

  return apply


def _identity(equation: core.JaxprEqn, inputs: Sequence[Value]) -> Any:
  """What two operations share that make the same of the same; None where that cannot be told."""
  if equation.effects:
    return None
  if any(np.ndim(value.constant) for value in inputs):
    return None  # too much to compare
  try:
    # The bytes of a constant: its text leaves digits out.
    read = tuple(
      id(value)
      if value.constant is None
      else (str(value.aval), np.asarray(value.constant).tobytes())
      for value in inputs
    )
    key = (equation.primitive, read, tuple(sorted(equation.params.items())))
    hash(key)
  except TypeError:
    return None
  return key
