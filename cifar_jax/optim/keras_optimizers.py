"""The rules of Keras 1.2 to 2.1.2, which the articles used, exactly.

lr = the schedule's rate after t updates, T = t + 1, g = gradient, p = parameters:

keras_sgd      v <- momentum v - lr g ; p <- p + v, with nesterov p <- p + momentum v - lr g. The
               rate is inside the velocity.
keras_rmsprop  a as in rmsprop, from 0 ; p <- p - lr g / (sqrt(a) + epsilon).
keras_adam     m <- beta1 m + (1 - beta1) g ; v <- beta2 v + (1 - beta2) g^2 ;
               p <- p - lr sqrt(1 - beta2^T) / (1 - beta1^T) m / (sqrt(v) + epsilon). Epsilon is
               added to the uncorrected root: "epsilon hat" in Kingma and Ba.

Their `decay` argument is the schedule 'time_decay'.
"""

import math

import jax
import jax.numpy as jnp
import optax


def momentum_trace(momentum: float, nesterov: bool) -> optax.GradientTransformation:
  """Optax's velocity; nothing without momentum."""
  # Without momentum Nesterov's step is the plain one too, and a velocity would only take memory.
  return optax.trace(momentum, nesterov) if momentum else optax.identity()


def keras_sgd(
  schedule: optax.Schedule, momentum: float, nesterov: bool
) -> optax.GradientTransformation:
  """SGD with momentum; see the module docstring."""
  return optax.chain(optax.scale_by_learning_rate(schedule), momentum_trace(momentum, nesterov))


def keras_rmsprop(
  schedule: optax.Schedule, rho: float, epsilon: float
) -> optax.GradientTransformation:
  """RMSprop; see the module docstring."""
  return optax.chain(
    optax.scale_by_rms(rho, epsilon, initial_scale=0.0, eps_in_sqrt=False),
    optax.scale_by_learning_rate(schedule),
  )


def keras_adam(
  schedule: optax.Schedule, beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
  """Adam; see the module docstring."""
  return optax.chain(
    scale_by_keras_adam(beta1, beta2, epsilon), optax.scale_by_learning_rate(schedule)
  )


def one_minus_power(base: float, exponent: jax.Array) -> jax.Array:
  """1 - base**exponent in float32 without cancellation, for a bias correction.

  Args:
    base: a decay rate in [0, 1).
    exponent: int32 scalar, at least 1: the number of terms in the moving average.

  Returns:
    float32 scalar, within 4e-7 of itself; a plain 1 - 0.999**1 is off by 1e-5 of itself.
  """
  log_base = math.log(base) if base > 0 else -math.inf
  return -jnp.expm1(exponent * log_base)


def scale_by_keras_adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
  """The direction of keras_adam: both moments uncorrected, one correction of the whole step.

  The state is that of `optax.scale_by_adam`.
  """

  def init(params: optax.Params) -> optax.ScaleByAdamState:
    return optax.ScaleByAdamState(
      count=jnp.zeros([], jnp.int32),
      mu=optax.tree.zeros_like(params),
      nu=optax.tree.zeros_like(params),
    )

  def update(
    gradients: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
  ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
    del params
    count = optax.safe_increment(state.count)
    mu = optax.tree.update_moment(gradients, state.mu, beta1, 1)
    nu = optax.tree.update_moment(gradients, state.nu, beta2, 2)
    correction = jnp.sqrt(one_minus_power(beta2, count)) / one_minus_power(beta1, count)
    direction = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + epsilon), mu, nu)
    return direction, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)
