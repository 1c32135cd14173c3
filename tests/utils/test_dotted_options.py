"""Options of a section, apart from the other words of a command line."""

import pytest

from cifar_jax.utils import dotted_options


@pytest.mark.parametrize(
  ('words', 'others', 'overrides'),
  [
    (['--noconfig.tensorboard', '--workdir=w'], ['--workdir=w'], ['--noconfig.tensorboard']),
    (['--config.tensorboard', '--workdir', 'w'], ['--workdir', 'w'], ['--config.tensorboard']),
    (['--config.seed', '3', '--workdir=w'], ['--workdir=w'], ['--config.seed=3']),
    (['--config.loss.l1', '-1'], [], ['--config.loss.l1=-1']),
    (
      ['--config=c.py', '--config.data.last_batch', 'drop'],
      ['--config=c.py'],
      ['--config.data.last_batch=drop'],
    ),
    (['--config.data.dir=my data', 'run'], ['run'], ['--config.data.dir=my data']),
    (['a', '--', '--config.seed=1'], ['a', '--', '--config.seed=1'], []),
    (['--config.tensorboard', '--', '-3'], ['--', '-3'], ['--config.tensorboard']),
  ],
)
def test_values_that_are_the_next_word(words, others, overrides) -> None:
  assert dotted_options.split(words, 'config') == (others, overrides)
