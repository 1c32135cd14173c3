"""Lowering for accelerators that are not here: every family's training step, for TPU and CUDA."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.data import Split, Splits
from cifar_jax.ops.dispatch import for_platform
from cifar_jax.trainer.recipe import make_plan, make_recipe
from cifar_jax.trainer.varied import make_varied_recipe
from cifar_jax.training import steps
from configs import base

EVERY_DAY = ('airbench_net', 'conv_net')
# What makes a family quick to trace or is needed to make it; nothing else is left out of its step.
FIELDS = {
  'airbench_net': {'widths': (8, 8), 'convolutions': (2, 2)},
  'conv_net': {
    'widths': (8, 16),
    'block': ('conv3', 'max_pool', 'batch_norm', 'dropout 0.25'),
    'head': ('flatten', 'dense 16', 'dropout 0.5'),
  },
  'convnext': {'depths': (1, 1), 'widths': (8, 16)},
  'densenet': {'depth': 10},
  'mixer': {'depth': 1},
  'preact_resnet': {'depth': 10},
  'resnet': {'depth': 8},
  'vgg': {'depth': 11},
  'vit': {'depth': 1},
  'wide_resnet': {'depth': 10},
}


def splits() -> Splits:
  split = Split(np.zeros((64, 32, 32, 3), np.uint8), np.zeros(64, np.int32))
  return Splits(
    train=split,
    validation=split,
    test=split,
    class_names=tuple('0123456789'),
    name='blank',
    source='built in',
    synthetic=True,
    validation_is_test=True,
  )


def lowered(name: str, batch_norm_rows: int = 0, only_tpu: bool = False) -> str:
  """The program of one update, short batch and all, for TPU and CUDA at once, as text; or a whole
  batch for TPU, as it is traced for that alone.
  """
  config = base.get_config()
  config.batch_size = 16
  config.model = ConfigDict({'name': name, **FIELDS.get(name, {})})
  config.augment.flip, config.augment.crop_padding, config.augment.cutout = 'random', 4, 8
  config.batch_norm.ghost_batch_size = batch_norm_rows
  recipe = make_recipe(config, splits(), make_plan(config, 64))
  state = jax.eval_shape(lambda: steps.init_state(recipe, steps.random_keys(0)))
  batch = steps.Batch(
    jax.ShapeDtypeStruct((16, 32, 32, 3), jnp.uint8),
    *(jax.ShapeDtypeStruct((16,), dtype) for dtype in (jnp.int32, jnp.int32, bool)),
  )
  keys = steps.random_keys(0, 'rbg' if only_tpu else 'threefry')
  step, platforms = functools.partial(steps.make_train_step(recipe), keys), ('tpu', 'cuda')
  if only_tpu:
    step, batch, platforms = for_platform(step, 'tpu'), batch.replace(mask=None), ('tpu',)
  # It refuses custom calls that are not promised to stay, callbacks among them.
  exported = jax.export.export(jax.jit(step), platforms=platforms)(state, batch)
  assert exported.platforms == platforms
  assert all(dtype.dtype != np.float64 for dtype in exported.out_avals)
  return exported.mlir_module()


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.slow)
    for name in models.names()
  ],
)
def test_every_family_lowers_for_tpu_and_cuda(name, monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'off')  # as on a machine with an accelerator
  program = lowered(name)
  assert not re.search(r'\bf64\b|xf64>', program)
  assert 'callback' not in program
  assert 'infeed' not in program


@pytest.mark.slow
def test_ghost_batches_lower_too(monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'off')
  assert 'callback' not in lowered('conv_net', batch_norm_rows=4)


def test_what_is_traced_for_tpu_alone_lowers() -> None:
  """Bits of the hardware's generator, one pass of BatchNorm, crops by selection."""
  program = lowered('conv_net', only_tpu=True)
  assert program.count('stablehlo.rng_bit_generator') >= 4  # two dropouts, flip, crop and cutout
  assert 'callback' not in program


def test_runs_in_one_program_lower_for_tpu_and_cuda(monkeypatch) -> None:
  """Three seeds with a rate and a decay of their own, two updates in one dispatch."""
  monkeypatch.setenv('CIFAR_JAX_CPU_KERNELS', 'off')
  several = []
  for seed in range(3):
    config = base.get_config()
    config.seed, config.batch_size = seed, 16
    config.model = ConfigDict({'name': 'conv_net', **FIELDS['conv_net']})
    config.optimizer = ConfigDict(
      {'name': 'adamw', 'learning_rate': 1e-3 * (seed + 1), 'weight_decay': 0.1 * seed}
    )
    several.append(config)
  plan = make_plan(several[0], 64)
  recipe = make_recipe(several[0], splits(), plan)
  varied_recipe = make_varied_recipe(recipe, several[0], several, plan)

  def updates(run, seed, state, images, labels, order):
    function = steps.make_train_steps(varied_recipe(run), count=2)
    return function(steps.random_keys(seed), state, images, labels, order, False)

  state = jax.eval_shape(lambda: steps.init_state(recipe, steps.random_keys(0)))
  state = jax.tree.map(lambda x: jax.ShapeDtypeStruct((3, *x.shape), x.dtype), state)
  train = splits().train
  mapped = jax.jit(jax.vmap(updates, in_axes=(0, 0, 0, None, None, 0)))
  order = jax.ShapeDtypeStruct((3, 64), jnp.int32)
  arguments = jnp.arange(3), jnp.arange(3), state, train.images, train.labels, order
  program = jax.export.export(mapped, platforms=('tpu', 'cuda'))(*arguments).mlir_module()
  assert 'callback' not in program
  assert not re.search(r'\bf64\b|xf64>', program)
  assert 'feature_group_count = 3' in program  # one convolution for all runs
