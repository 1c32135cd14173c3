"""Space files: what is refused before a study begins, and what the shipped ones begin with."""

import optuna
import pytest
from optuna.distributions import BaseDistribution

from cifar_jax import config as configs
from cifar_jax.search import space, study
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study

SPACE = """
from configs import cnn_simple
BASELINE = {baseline}
def get_config(trial):
  config = cnn_simple.get_config()
  config.data.validation = '5000'
  config.batch_size = trial.suggest_categorical('batch', [32, 64])
  if config.batch_size == 64:
    config.optimizer.learning_rate = trial.suggest_float('lr', 1e-4, 1e-2, log=True)
  return config
"""


def tried(tmp_path, text: str, overrides: tuple[str, ...] = ()) -> dict[str, BaseDistribution]:
  """What a space suggests from, by name."""
  path = tmp_path / 'space.py'
  path.write_text(text)
  proposer = space.load_space(str(path), overrides)
  return study.check_proposals(proposer, fake_study.PLAN, space.baseline_of(proposer))


def test_it_is_tried_before_a_study_begins(tmp_path) -> None:
  tried(tmp_path, SPACE.format(baseline="{'batch': 64, 'lr': 1e-3}"))
  tried(tmp_path, SPACE.format(baseline="{'batch': 32}"))


@pytest.mark.parametrize(
  ('baseline', 'said'),
  [
    ("{'batch': 64, 'learning': 1e-3}", "BASELINE has 'learning', which the space does not"),
    ("{'batch': 64}", "BASELINE lacks 'lr', which the space suggests"),
    ("{'batch': 65, 'lr': 1e-3}", r'space\.py, line 7: ValueError: .*65'),
    ('3', 'BASELINE is no dictionary'),
  ],
)
def test_a_baseline_that_is_none_is_refused(tmp_path, baseline, said) -> None:
  with pytest.raises(UserError, match=said):
    tried(tmp_path, SPACE.format(baseline=baseline))


def test_mistakes_name_the_line_or_the_flag(tmp_path) -> None:
  text = SPACE.format(baseline={})
  with pytest.raises(UserError, match=r'space\.py, line 6: AttributeError'):
    tried(tmp_path, text.replace("config.data.validation = '5000'", 'config.date.x = 1'))
  with pytest.raises(
    UserError, match=r'space\.py, line 6: unknown option --config\.epoch; did you'
  ):
    tried(tmp_path, text.replace("config.data.validation = '5000'", 'config.epoch = 3'))
  with pytest.raises(UserError, match=r'^unknown option --config\.epoch; did you mean'):
    tried(tmp_path, text, ('--config.epoch=3',))
  with pytest.raises(UserError, match=r'--config\.data\.validation=5000'):
    tried(tmp_path, text, ('--config.data.validation=test',))


def test_a_baseline_outside_of_the_space_is_told_in_a_sentence(tmp_path, recwarn) -> None:
  baseline = {'batch': 64, 'lr': 0.5}
  suggested = tried(tmp_path, SPACE.format(baseline=baseline))
  assert space.outside(baseline, suggested) == {'lr': 0.5}
  assert space.outside({'lr': 1e-3}, suggested) == {}
  assert not [warning for warning in recwarn if 'out of range' in str(warning.message)]


@pytest.mark.parametrize('name', ['cnn_simple', 'fast83'])
def test_the_baseline_of_a_shipped_space_is_the_articles_config(name) -> None:
  proposer = space.load_space(f'configs/spaces/{name}.py')
  baseline = space.baseline_of(proposer)
  study.check_proposals(proposer, fake_study.PLAN, baseline)
  config = dict(configs.flatten(proposer.propose(optuna.trial.FixedTrial(dict(baseline)), None)))
  article = dict(configs.flatten(configs.load(f'configs/{name}.py')))
  different = {key for key in config.keys() | article.keys() if config[key] != article[key]}
  assert different <= {'epochs', 'tensorboard', 'data.validation', 'evaluate.every_epochs'}
