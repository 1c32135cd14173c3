"""Networks by name, those of this package and those of the user."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax.utils.array_types import Maps, Mask
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

Constructor = Callable[..., nn.Module]
ConstructorT = TypeVar('ConstructorT', bound=Constructor)

_CONSTRUCTORS: dict[str, Constructor] = {}
_DTYPES = {'bfloat16': jnp.bfloat16, 'float32': jnp.float32}


def register(name: str) -> Callable[[ConstructorT], ConstructorT]:
  """Makes a module class, or a function that returns a module, available as config.model.name."""

  def remember(constructor: ConstructorT) -> ConstructorT:
    if name in _CONSTRUCTORS:
      raise ValueError(f'a network called {name!r} is registered already')
    _CONSTRUCTORS[name] = constructor
    return constructor

  return remember


def names() -> tuple[str, ...]:
  """Returns the registered names, sorted."""
  return tuple(sorted(_CONSTRUCTORS))


def create(model_config: Mapping[str, Any], num_classes: int) -> nn.Module:
  """Makes the network that a config describes.

  Args:
    model_config: 'name' and the constructor's own fields; a field of None is left to its default.
      The name is a registered one or 'package.module:Class'. 'dtype' may be the string 'float32' or
      'bfloat16'.
    num_classes: Number of classes, given to the constructor if it takes it.

  Raises:
    UserError: Nothing has that name, the fields are not those of the constructor, or what it makes
      is no network.
  """
  fields = {key: _frozen(value) for key, value in model_config.items() if value is not None}
  name = fields.pop('name', None)
  constructor = find(name)
  parameters = _parameters(constructor)
  takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  known = [key for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
  for field in fields:
    if field not in known and not takes_any:
      raise UserError(
        f'--config.model.{field}: {name} has no such field{did_you_mean(field, known)}'
      )
  if 'num_classes' in known or takes_any:
    fields.setdefault('num_classes', num_classes)
  for key, parameter in parameters.items():
    variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    if parameter.default is parameter.empty and not variadic and key not in fields:
      raise UserError(f'--config.model.{key}: {name} needs this field; add it to config.model')
  if isinstance(fields.get('dtype'), str):
    if fields['dtype'] not in _DTYPES:
      suggestion = did_you_mean(fields['dtype'], _DTYPES)
      raise UserError(f'--config.model.dtype: {fields["dtype"]!r} is no compute dtype{suggestion}')
    fields['dtype'] = _DTYPES[fields['dtype']]
  module = constructor(**fields)
  if not isinstance(module, nn.Module):
    raise UserError(
      f'--config.model.name: {name} must give a flax.linen.Module, not {type(module).__name__}'
    )
  taken = inspect.signature(type(module).__call__).parameters
  if 'train' not in taken and not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
    raise UserError(
      f'--config.model.name: {name} takes ({", ".join(list(taken)[1:])}), and is called with '
      '(images, train=True or False); give its __call__ the argument train'
    )
  return module


def takes_mask(module: nn.Module) -> bool:
  """Returns whether the module's call has a `mask` argument, as (images, train, mask=None)."""
  return 'mask' in inspect.signature(type(module).__call__).parameters


def apply(
  module: nn.Module,
  variables: Mapping[str, Any],
  images: Maps,
  *,
  train: bool,
  mask: Mask | None = None,
  **options: Any,
) -> Any:
  """Calls `module.apply`, with the mask if the module takes one.

  A network of the user's without `mask` counts all rows in its BatchNorm statistics, padding
  included.

  Args:
    module: The network.
    variables: The collections of the network, 'params' and perhaps 'batch_stats'.
    images: The batch.
    train: Whether the network is trained, as it takes it.
    mask: The rows that count; None for all.
    **options: `rngs`, `mutable` and the like, for `module.apply`.

  Returns:
    Logits [B, classes], or (logits, changed collections) if `mutable` is given.
  """
  arguments = {'train': train, 'mask': mask} if takes_mask(module) else {'train': train}
  return module.apply(variables, images, **arguments, **options)


def find(name: object) -> Constructor:
  """The class or function of a name; raises UserError if there is none."""
  if isinstance(name, str) and name in _CONSTRUCTORS:
    return _CONSTRUCTORS[name]
  if not isinstance(name, str) or ':' not in name:
    raise UserError(
      f'--config.model.name: no network is called {name!r}{did_you_mean(name, names())}; '
      'your own are written package.module:Class'
    )
  module_name, _, attribute = name.partition(':')
  try:
    module = importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    raise UserError(
      f'--config.model.name: {module_name!r} cannot be imported ({error}); '
      'start from its folder or install it'
    ) from error
  except Exception as error:  # a mistake in it
    last = traceback.extract_tb(error.__traceback__)[-1]
    # A SyntaxError says itself where it is.
    where = '' if isinstance(error, SyntaxError) else f' in {last.filename}, line {last.lineno}'
    text = ' '.join(str(error).split())
    raise UserError(
      f'--config.model.name: {module_name!r} cannot be imported '
      f'({type(error).__name__}{where}: {text}); correct it'
    ) from error
  constructor = getattr(module, attribute, None)
  if not callable(constructor):
    public = [key for key, value in vars(module).items() if callable(value) and key[:1] != '_']
    raise UserError(
      f'--config.model.name: {module_name} has no network {attribute!r}'
      f'{did_you_mean(attribute, public)}'
    )
  return constructor


def _parameters(constructor: Constructor) -> dict[str, inspect.Parameter]:
  """The fields that a config may set; `parent` and `name` are Flax's own."""
  try:
    parameters = dict(inspect.signature(constructor).parameters)
  except ValueError:  # some classes written in C have no signature
    return {}
  if isinstance(constructor, type) and issubclass(constructor, nn.Module):
    for key in ('parent', 'name'):
      parameters.pop(key, None)
  return parameters


def _frozen(value: Any) -> Any:
  """Lists as tuples, since the fields of a module must be hashable."""
  return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value
