"""Optimizers that are Optax's own, with our names of their options.

Weight decay, where taken, is decoupled and on by default only where it is in Optax; that of sgd and
lars is L2. Optimizers for which weight_decay has meant both do not take it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from cifar_jax.optim import fields
from cifar_jax.optim.optimizers import Optimizer, optimizer
from cifar_jax.schema.constraints import POSITIVE
from cifar_jax.schema.options import option


def kernels(params: optax.Params) -> Any:
  """True for kernels; False for biases and for the scale and bias of normalization layers."""
  return jax.tree.map(lambda array: array.ndim >= 2, params)


def _everything(params: optax.Params) -> Any:
  return jax.tree.map(lambda _: True, params)


# What weight decay acts on. Both are here because a state tells a mask of everything from none.
_MASKS = {'all': _everything, 'kernels': kernels}
_MASKS_OR_NONE = {'all': None, 'kernels': kernels}


def momentum_trace(momentum: float, nesterov: bool) -> optax.GradientTransformation:
  """Optax's velocity; nothing without momentum."""
  # Without momentum Nesterov's step is the plain one too, and a velocity would only take memory.
  return optax.identity() if fields.is_zero(momentum) else optax.trace(momentum, nesterov)


@optimizer('sgd')
class SGD(Optimizer):
  """v <- momentum v + g ; p <- p - lr v, with nesterov p <- p - lr (g + momentum v).

  The rate is outside the velocity, as in PyTorch and Optax: a new rate acts on the whole velocity
  at once. weight_decay is coupled (L2), as in torch.optim.SGD: g + weight_decay p replaces g.
  """

  learning_rate: float = fields.learning_rate(0.01)
  momentum: float = fields.momentum(0.0)
  nesterov: bool = fields.nesterov(False)
  weight_decay: float = fields.weight_decay(0.0)
  weight_decay_mask: str = fields.weight_decay_mask('all')

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.chain(
      optax.identity()
      if fields.is_zero(self.weight_decay)
      else optax.add_decayed_weights(self.weight_decay, _MASKS_OR_NONE[self.weight_decay_mask]),
      momentum_trace(self.momentum, self.nesterov),
      optax.scale_by_learning_rate(schedule),
    )


@optimizer('rmsprop')
class RMSprop(Optimizer):
  """a <- rho a + (1 - rho) g^2 ; p <- p - lr g / sqrt(a + epsilon): epsilon inside the root."""

  learning_rate: float = fields.learning_rate(0.001)
  rho: float = fields.rho(0.9)
  epsilon: float = fields.epsilon(1e-8)

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.rmsprop(schedule, decay=self.rho, eps=self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamLike(Optimizer):
  """A rule with a first and a second moment; `rule` is Optax's name of it."""

  rule: ClassVar[Callable[..., optax.GradientTransformation]]
  learning_rate: float = fields.learning_rate(0.001)
  beta1: float = fields.beta1(0.9)
  beta2: float = fields.beta2(0.999)
  epsilon: float = fields.epsilon(1e-8)

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return self.rule(schedule, self.beta1, self.beta2, self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecayedAdam(AdamLike):
  """The same with decoupled weight decay."""

  masks: ClassVar[Mapping[str, Any]] = _MASKS
  weight_decay: float = fields.weight_decay(1e-4)
  weight_decay_mask: str = fields.weight_decay_mask('all')

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    mask = self.masks[self.weight_decay_mask]
    return self.rule(
      schedule, self.beta1, self.beta2, self.epsilon, weight_decay=self.weight_decay, mask=mask
    )


@optimizer('adam')
class Adam(AdamLike):
  """Kingma and Ba (2015); both moments are bias-corrected before epsilon is added."""

  rule = staticmethod(optax.adam)


@optimizer('adamw')
class AdamW(DecayedAdam):
  """Adam with decoupled decay (Loshchilov and Hutter, 2019): p <- p - lr (step + decay p)."""

  rule = staticmethod(optax.adamw)
  masks = _MASKS_OR_NONE


@optimizer('adabelief')
class AdaBelief(AdamLike):
  """Zhuang et al. (2020): Adam whose second moment is that of g - m."""

  rule = staticmethod(optax.adabelief)
  epsilon: float = fields.epsilon(1e-16)


@optimizer('adadelta')
class AdaDelta(Optimizer):
  """Zeiler (2012): steps scaled by averages of squared gradients and of squared steps."""

  learning_rate: float = fields.learning_rate(1.0)
  rho: float = fields.rho(0.9)
  epsilon: float = fields.epsilon(1e-6)

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.adadelta(schedule, self.rho, self.epsilon)


@optimizer('adagrad')
class AdaGrad(Optimizer):
  """Duchi et al. (2011); the sum of squares starts at 0.1."""

  learning_rate: float = fields.learning_rate(0.01)
  epsilon: float = fields.epsilon(1e-7)

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.adagrad(schedule, eps=self.epsilon)


@optimizer('adamax')
class AdaMax(AdamLike):
  """Kingma and Ba (2015): Adam with the infinity norm in place of the second moment."""

  rule = staticmethod(optax.adamax)


@optimizer('lamb')
class LAMB(DecayedAdam):
  """You et al. (2020): adamw, with the step of each array scaled to the norm of the array."""

  rule = staticmethod(optax.lamb)
  epsilon: float = fields.epsilon(1e-6)
  weight_decay: float = fields.weight_decay(0.0)


@optimizer('lars')
class LARS(Optimizer):
  """You et al. (2017): sgd, with the step of each array scaled to `trust` times its norm."""

  learning_rate: float = fields.learning_rate(1.0)
  momentum: float = fields.momentum(0.9)
  nesterov: bool = fields.nesterov(False)
  trust: float = option(0.001, POSITIVE)(
    'The length of a step as a fraction of the norm of its array.'
  )
  weight_decay: float = fields.weight_decay(0.0)
  weight_decay_mask: str = fields.weight_decay_mask('all')

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.lars(
      schedule,
      weight_decay=self.weight_decay,
      weight_decay_mask=_MASKS[self.weight_decay_mask],
      trust_coefficient=self.trust,
      momentum=self.momentum,
      nesterov=self.nesterov,
    )


@optimizer('lion')
class Lion(Optimizer):
  """Chen et al. (2023): the sign of an average of m and g, with decoupled decay."""

  learning_rate: float = fields.learning_rate(1e-4)
  beta1: float = fields.beta1(0.9)
  beta2: float = fields.beta2(0.99)
  weight_decay: float = fields.weight_decay(0.001)
  weight_decay_mask: str = fields.weight_decay_mask('all')

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.lion(
      schedule,
      self.beta1,
      self.beta2,
      weight_decay=self.weight_decay,
      mask=_MASKS[self.weight_decay_mask],
    )


@optimizer('muon')
class Muon(Optimizer):
  """Jordan (2024), `optax.contrib.muon`: orthogonalized momentum for kernels, nadam for the rest.

  Kernels of convolutions are treated as matrices [window and channels, filters].
  """

  learning_rate: float = fields.learning_rate(0.02)
  momentum: float = fields.momentum(0.95)
  nesterov: bool = fields.nesterov(True)
  weight_decay: float = fields.weight_decay(0.0)
  weight_decay_mask: str = fields.weight_decay_mask('all')

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return muon(
      schedule,
      beta=self.momentum,
      nesterov=self.nesterov,
      weight_decay=self.weight_decay,
      adam_weight_decay=self.weight_decay if self.weight_decay_mask == 'all' else 0.0,
      muon_weight_dimension_numbers=_matrices,
    )


def _matrices(params: optax.Params) -> Any:
  def of(array: jax.Array) -> MuonDimensionNumbers | None:
    last = array.ndim - 1
    return MuonDimensionNumbers(tuple(range(last)), (last,)) if last > 0 else None

  return jax.tree.map(of, params)


@optimizer('nadam')
class Nadam(AdamLike):
  """Dozat (2016): Adam with Nesterov's momentum."""

  rule = staticmethod(optax.nadam)


@optimizer('nadamw')
class NadamW(DecayedAdam):
  """nadam with decoupled decay."""

  rule = staticmethod(optax.nadamw)


@optimizer('radam')
class RAdam(AdamLike):
  """Liu et al. (2020): Adam with a rectified start."""

  rule = staticmethod(optax.radam)


@optimizer('yogi')
class Yogi(AdamLike):
  """Zaheer et al. (2018): Adam whose second moment changes by (1 - beta2) g^2, up or down."""

  rule = staticmethod(optax.yogi)
  epsilon: float = fields.epsilon(1e-3)
