"""Configs written as config files."""

import pytest

from cifar_jax import config as configs
from tests.helpers import REPOSITORY

CONFIGS = sorted(path.stem for path in (REPOSITORY / 'configs').glob('[!_]*.py'))


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in ('fast83', 'vit_tiny') else pytest.mark.thorough)
    for name in CONFIGS
  ],
)
def test_every_config_is_written_as_a_file_and_read_again(tmp_path, name) -> None:
  path, config = tmp_path / 'again.py', configs.load(name)
  path.write_text(configs.to_source(config, 'A "quoted"\\ text.\n\nAnd more.'))
  assert configs.to_json(configs.load(str(path))) == configs.to_json(config)
