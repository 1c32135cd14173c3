"""What a config and its data must agree on is checked before the first step."""

import pytest

from cifar_jax import data
from cifar_jax.errors import UserError
from cifar_jax.experiment import assemble
from tests.test_loop import changed


def assembled(config, **values):
  config = changed(config, **values)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  return assemble(config, splits), splits


def test_steps_and_the_short_batch(tiny_config) -> None:
  """180 training examples."""
  for batch_size, last_batch, steps, short in [
    (32, 'keep', 6, True),
    (32, 'drop', 5, False),
    (60, 'keep', 3, False),
    (180, 'drop', 1, False),
    (256, 'keep', 1, True),
  ]:
    experiment, _ = assembled(
      tiny_config, batch_size=batch_size, epochs=7, **{'data.last_batch': last_batch}
    )
    assert experiment.steps_per_epoch == steps
    assert experiment.total_steps == 7 * steps
    assert experiment.short_last_batch == short


def test_a_batch_that_would_drop_everything(tiny_config) -> None:
  with pytest.raises(UserError, match=r"--config\.batch_size=181 .* 180 .*last_batch='drop'"):
    assembled(tiny_config, batch_size=181, **{'data.last_batch': 'drop'})


@pytest.mark.parametrize('option', ['mean', 'std'])
def test_a_mean_for_another_number_of_channels(tiny_config, option) -> None:
  """Two numbers for three channels; one number serves all."""
  with pytest.raises(UserError, match=rf'--config\.data\.{option} has 2 .*3 channels'):
    assembled(tiny_config, **{f'data.{option}': (0.5, 0.25)})
  assembled(tiny_config, **{f'data.{option}': (0.5,)})


def test_normalised_pixels_reach_the_network(tiny_config) -> None:
  """A loss that depends on mean and std, in training and in evaluation."""
  plain, splits = assembled(tiny_config)
  scaled, _ = assembled(tiny_config, **{'data.mean': (0.5, 0.4, 0.3), 'data.std': (0.25,)})
  found = [e.evaluate(e.init(), e.place(splits.test))['loss'] for e in (plain, scaled)]
  assert found[0] != found[1]
