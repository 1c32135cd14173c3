"""Which layer is the reason that a network cannot be exported."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax.exchange.targets import Options
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.errors import UserError

_CALLS = (
  'ffi_call',
  'pure_callback',
  'io_callback',
  'custom_call',
  'pallas_call',
  'tpu_custom_call',
)


@contextlib.contextmanager
def naming_layers(
  target: str, function: Callable[[Any], Any], network: Classifier, options: Options
) -> Iterator[None]:
  """Turns what is raised while a function of a network is exported into one sentence.

  Args:
    target: What it is exported to.
    function: The function, of images [N, H, W, C].
    network: Whose function it is.
    options: What it takes.

  Raises:
    UserError: that sentence, which names the layer where it can be told.
  """
  paths: list[str] = []

  def note(method: Any, arguments: tuple[Any, ...], fields: dict[str, Any], context: Any) -> Any:
    try:
      return method(*arguments, **fields)
    except Exception:
      if not paths:  # the innermost layer
        paths.append(_named('/'.join(context.module.path), type(context.module).__name__))
      raise

  try:
    with nn.intercept_methods(note):
      yield
  except UserError:
    raise
  except Exception as error:
    reason = ' '.join(str(error).split())[:200]
    primitives = re.findall(r"primitive '([\w.-]+)'", reason) or _CALLS
    where = paths[0] if paths else _layer_with(primitives, function, network, options)
    what = where or f'the network {network.config.model.get("name")!r}'
    remedy = 'choose another target by --to, or write that layer by operations that it has'
    if '_DimExpr' in reason:
      remedy = 'the number of images is free in an export: write x.shape[0] in place of len(x)'
    raise UserError(
      f'{what} cannot be exported to {target} ({type(error).__name__}: {reason}); {remedy}'
    ) from error


def _layer_with(
  primitives: Any, function: Callable[[Any], Any], network: Classifier, options: Options
) -> str:
  """The first layer with one of some primitives; '' where none is found."""
  images = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.dtype(options.input_dtype))
  for operation in _operations(jax.make_jaxpr(function)(images).jaxpr):
    name = operation.primitive.name
    if name in primitives:
      path = str(operation.source_info.name_stack)
      return _named(path, f'operation {name}')
  return ''


def _operations(program: Any) -> Iterator[Any]:
  for operation in program.eqns:
    yield operation
    for inner in jax.tree.leaves(list(operation.params.values()), is_leaf=_is_program):
      if _is_program(inner):
        yield from _operations(getattr(inner, 'jaxpr', inner))


def _is_program(value: Any) -> bool:
  return hasattr(getattr(value, 'jaxpr', value), 'eqns')


def _named(path: str, kind: str) -> str:
  return f'the layer {path} ({kind})' if path else f'the network itself ({kind})'
