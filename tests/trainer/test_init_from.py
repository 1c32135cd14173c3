"""A run that begins with what fits of another network."""

import jax
import numpy as np
import pytest

from cifar_jax import config as configs
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import changed, trainer_on


def test_arrays_of_the_same_name_and_shape_are_taken_and_the_others_drawn(tiny_run) -> None:
  """The parent has convolutions of 4 and 8 filters; the child's second one has 16."""
  config = changed(configs.read(tiny_run), init_from=str(tiny_run), **{'model.widths': (4, 16)})
  trainer, _ = trainer_on(config, 1)
  with pytest.raises(UserError, match=r'or --config\.init_matching=True to take what fits'):
    trainer.init()
  with Checkpoints(tiny_run, read_only=True) as checkpoints:
    parent = checkpoints.restore_variables('best')[0]['params']
  trainer, _ = trainer_on(changed(config, init_matching=True), 1)
  child = jax.device_get(trainer.init().params)
  drawn_trainer, _ = trainer_on(changed(config, init_from=''), 1)
  drawn = jax.device_get(drawn_trainer.init().params)
  for name, kernels in child.items():
    for key, array in kernels.items():
      fits = parent[name][key].shape == array.shape
      assert fits == (name == 'Conv_0' or (key == 'bias' and name == 'logits'))
      np.testing.assert_array_equal(array, (parent if fits else drawn)[name][key])
  assert not np.array_equal(child['Conv_0']['kernel'], drawn['Conv_0']['kernel'])


def test_networks_that_have_nothing_in_common_share_nothing(tiny_run) -> None:
  options = {'model.widths': (5,), 'model.block': ('conv1',), 'data.channels': 1}
  config = changed(configs.read(tiny_run), init_from=str(tiny_run), init_matching=True, **options)
  config = changed(config, **{'model.head': ('flatten', 'dense 3'), 'data.validation': '21'})
  trainer, _ = trainer_on(config, 1)
  found = starting_variables(trainer.config, trainer.recipe.module, trainer.init_shapes())
  assert jax.tree.map(np.shape, found['params']) == {'logits': {'bias': (4,)}}
