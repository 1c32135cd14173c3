"""Builds the parts of a run from a config and data: network, optimizer, compiled steps. Training
and evaluation share it.
"""

import dataclasses
import functools
import math
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cifar_jax.augment.normalize import Normalize
from cifar_jax.data import Splits
from cifar_jax.devices import pmap, sharding
from cifar_jax.devices.compilation_cache import keep_compiled_programs
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.optim import Plan
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.evaluator import Evaluator
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.trainer.recipe import check_fits, make_plan, make_recipe, make_schedule
from cifar_jax.training import sampling, steps
from cifar_jax.training.recipe import Recipe
from cifar_jax.utils.errors import UserError

Update = tuple[steps.TrainState, steps.StepMetrics]  # what each training step returns


class Traced(NamedTuple):
  """What tracing an initialization tells.

  Attributes:
    state: Its shapes.
    outputs: The bytes of the output of each module for one image, modules within others included.
    logits: The shape of what the whole network makes of one image; None if that is no array.
  """

  state: steps.TrainState
  outputs: list[int]
  logits: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
  """Everything a run needs that follows from its config and its data; no state.

  The programs among the properties are compiled at first use and serve every seed.

  Attributes:
    mesh: The devices in use.
    schedule: The number of updates made -> the learning rate.
    init_images: The training images that the initialization looks at, uint8 [N, H, W, C].
  """

  config: ConfigDict
  recipe: Recipe
  mesh: Mesh
  plan: Plan
  schedule: optax.Schedule
  init_images: np.ndarray

  @property
  def total_steps(self) -> int:
    """The number of updates in the whole run."""
    return self.plan.total_steps

  @property
  def steps_per_epoch(self) -> int:
    """The number of updates per epoch."""
    return self.plan.steps_per_epoch

  @property
  def short_last_batch(self) -> bool:
    """Whether the last batch of an epoch has fewer examples than the others."""
    return self.recipe.short_last_batch

  @property
  def epochs(self) -> int:
    """The number of epochs in the run, the last one perhaps unfinished."""
    return self.epoch_of(self.total_steps)

  def steps_in_epoch(self, step: int) -> int:
    """The number of updates in the epoch of update `step`, counted from 0."""
    return min(self.steps_per_epoch, self.total_steps - step + step % self.steps_per_epoch)

  def ends_epoch(self, step: int) -> bool:
    """Whether `step` updates end an epoch; the run may end before its last epoch does."""
    return step % self.steps_per_epoch == 0 or step == self.total_steps

  def epoch_of(self, step: int) -> int:
    """The number, from 1, of the epoch that `step` updates end or reach into."""
    return -(-step // self.steps_per_epoch)

  def is_validated(self, step: int) -> bool:
    """Whether the epoch that ends with `step` updates is measured on the validation split."""
    every = self.config.evaluate.every_epochs
    return step == self.total_steps or bool(every and self.epoch_of(step) % every == 0)

  def is_masked(self, step: int, count: int) -> bool:
    """Whether the dispatch of `count` updates after `step` is that of an epoch's short batch."""
    return self.short_last_batch and (step + count) % self.steps_per_epoch == 0

  def dispatch_length(self, step: int, supports_scan: bool) -> int:
    """Updates in the dispatch after `step`: as many as lie between two host events, unless
    configured.

    Args:
      supports_scan: Whether the input pipeline can make several without the host.
    """
    config, per_epoch = self.config, self.steps_per_epoch
    wanted = config.steps_per_dispatch or (
      1 if sharding.platform(self.mesh) == 'cpu' else per_epoch
    )
    if not supports_scan:
      wanted = 1
    position = step % per_epoch
    # The one short batch of an epoch is a program of its own.
    end = per_epoch - 1 if self.short_last_batch else per_epoch
    count = max(1, min(wanted, end - position, self.total_steps - step))
    if config.checkpoint.every_steps:
      count = min(count, config.checkpoint.every_steps - step % config.checkpoint.every_steps)
    return count

  @functools.cached_property
  def keys(self) -> steps.RandomKeys:
    """The root keys of the run, on every device."""
    seed = sharding.replicate(np.uint32(self.config.seed), self.mesh)
    return sharding.jit_replicated(_random_keys(self.generator), self.mesh)(seed)

  @property
  def generator(self) -> str:
    """What makes the random numbers of a step: 'threefry' or 'rbg', as `config.rng` asks for."""
    if self.config.rng == 'auto':
      return 'rbg' if sharding.platform(self.mesh) == 'tpu' else 'threefry'
    return str(self.config.rng)

  @functools.cached_property
  def epoch_order(self) -> Callable[[steps.RandomKeys, jax.Array], jax.Array]:
    """(keys, epoch) -> the order of the examples, int32, on every device."""
    return sharding.jit_replicated(sampling.make_epoch_order(self.recipe), self.mesh)

  @functools.cached_property
  def train_steps(self) -> Callable[[int], Callable[..., Update]]:
    """count -> so many updates on data on the devices, as `steps.make_train_steps` says."""

    @functools.cache
    def train_steps(count: int) -> Callable[..., Update]:
      function = steps.make_train_steps(self.recipe, count, self.data_parallel)
      return self._parallel.compile_step(function, self.mesh, updates=True)

    return train_steps

  @functools.cached_property
  def train_step(self) -> Callable[[steps.RandomKeys, steps.TrainState, steps.Batch], Update]:
    """An update on one batch from the host, as `steps.make_train_step` says."""
    function = steps.make_train_step(self.recipe, self.data_parallel)
    return self._parallel.compile_step(function, self.mesh, updates=True)

  @functools.cached_property
  def evaluate(self) -> Evaluator:
    """(state, placed split) -> loss and accuracy."""
    return Evaluator(
      self.recipe,
      self.mesh,
      self.data_parallel,
      self._parallel.compile_step,
      self.config.data.placement,
    )

  def init(self, keys: steps.RandomKeys | None = None) -> steps.TrainState:
    """The state before the first update, on every device.

    It is computed on the host where that is possible: a GPU takes seconds to get ready for what it
    does once.

    Args:
      keys: Those of a run with another seed; None for `keys`.
    """
    start = starting_variables(self.config, self.recipe.module, self.init_shapes())
    arguments = keys or self.keys, self.init_images, start
    if (host := sharding.host_of(self.mesh)) is None:
      return self._init(*arguments)
    state = self._init_on_host(*jax.device_put(arguments, host))
    return sharding.replicate(state, self.mesh)

  def init_shapes(self) -> steps.TrainState:
    """The shapes of the state; reads no weights.

    Raises:
      UserError: the images are not those that the network takes.
    """
    return self.traced.state

  @functools.cached_property
  def traced(self) -> Traced:
    """What the initialization makes, traced once: trainers of other seeds share it."""
    outputs: list[int] = []
    logits: tuple[int, ...] | None = None

    def record(method: Any, arguments: Any, options: Any, context: Any) -> Any:
      nonlocal logits
      result = method(*arguments, **options)
      if isinstance(result, jax.Array):
        outputs.append(math.prod(result.shape) * result.dtype.itemsize)
        if context.method_name == '__call__' and not context.module.path:  # the whole network
          logits = result.shape
      return result

    with nn.intercept_methods(record):
      state = jax.eval_shape(self._init, self.abstract_keys(), self.init_images)
    return Traced(state, outputs, logits)

  def abstract_keys(self) -> steps.RandomKeys:
    """The shapes of `keys`."""
    shapes: steps.RandomKeys = jax.eval_shape(_random_keys(self.generator), 0)
    return shapes

  def abstract_state(self) -> steps.TrainState:
    """The target for restoring a checkpoint onto this trainer's devices."""
    return steps.abstract_state(self.init_shapes(), sharding.replicated(self.mesh))

  @functools.cached_property
  def _init(self) -> Callable[..., steps.TrainState]:
    return sharding.jit_replicated(functools.partial(steps.init_state, self.recipe), self.mesh)

  @functools.cached_property
  def _init_on_host(self) -> Callable[..., steps.TrainState]:
    return jax.jit(functools.partial(steps.init_state, self.recipe))

  @property
  def _parallel(self) -> types.ModuleType:
    """What compiles steps and divides their batches: `sharding` or `pmap`."""
    return pmap if self.config.parallel == 'pmap' else sharding

  @property
  def data_parallel(self) -> DataParallel:
    """How a step divides its batch among the devices."""
    return self._parallel.data_parallel(self.mesh)


@functools.cache
def _random_keys(generator: str) -> Callable[[int | jax.Array], steps.RandomKeys]:
  """One function for each generator, so that JAX traces and compiles it once in a process."""
  return functools.partial(steps.random_keys, generator=generator)


def build_trainer(
  config: ConfigDict,
  splits: Splits,
  normalize: Normalize | None = None,
  mesh: Mesh | None = None,
) -> Trainer:
  """Builds the network, the optimizer and the steps.

  Args:
    normalize: The normalization of a run that is measured; None fits it to the training images.
    mesh: Devices that need not be here, to compile for; None for those of `config.devices`.

  Raises:
    UserError: the config cannot be met.
  """
  keep_compiled_programs()
  plan = make_plan(config, len(splits.train))
  check_fits(config, splits, plan)
  mesh = mesh or sharding.make_mesh(config.devices)
  recipe = make_recipe(config, splits, plan, normalize, sharding.batch_multiple(config, mesh))
  rows = recipe.padded_batch_size // mesh.size
  if rows % config.grad_accum_steps:
    raise UserError(
      f'--config.grad_accum_steps={config.grad_accum_steps} does not divide the {rows} '
      'rows of a batch on each device into equal parts; choose it, or --config.batch_size, so that '
      'it does'
    )
  cached = cached_features.are_cached(recipe.module)
  if config.data.placement == 'device' and not cached:
    sharding.check_images_fit(splits.image_bytes, mesh)
  if config.parallel == 'pmap':
    pmap.check_config(config)
  trainer = Trainer(
    config=config,
    recipe=recipe,
    mesh=mesh,
    plan=plan,
    schedule=make_schedule(config, plan),
    init_images=splits.train.images[: config.whitening.images if config.whitening.layer else 0],
  )
  if isinstance(recipe.module, Pretrained):
    shapes = trainer.init_shapes()  # refuses images that are not the network's
    if cached:
      cached_features.check(config, shapes.params)
  return trainer
