"""The best config, the baseline, and the table of a study."""

import dataclasses
import shlex

import pytest

from cifar_jax import config as configs
from cifar_jax.search import results, rows, study, table
from cifar_jax.search.attributes import CONFIG
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study


def test_the_best_config_is_a_config_file(open_fake, work, tmp_path) -> None:
  opened = open_fake()
  assert results.write_best(opened) is None
  work(opened, trials=4)
  trials = opened.trials()
  best = max(trials, key=lambda trial: trial.value)
  path = results.write_best(opened)
  loaded = configs.load(str(path))
  assert configs.to_json(loaded) == configs.to_json(results.best_config(tmp_path / 'study'))
  assert loaded.optimizer.learning_rate == best.params['x']
  assert configs.to_json(loaded) == {**best.user_attrs[CONFIG]}
  assert f'Trial {best.number}, the best of 4' in path.read_text()
  # Within the study, so that looks at the run's test set count.
  assert f'launch.py --config={path} --workdir={tmp_path / "study" / "best"}\n' in path.read_text()
  assert results.baseline_config(tmp_path / 'study') is None


def test_a_baseline_is_the_first_trial(tmp_path) -> None:
  plan = dataclasses.replace(fake_study.PLAN, storage=f'journal:{tmp_path / "j"}')
  for _ in range(2):  # it is enqueued once
    opened = study.open_study(tmp_path / 'study', plan, {'x': 0.25})
  trial = opened.study.ask()
  config = study.closed_to_test(fake_study.Space().propose(trial, opened.study))
  trial.set_user_attr(CONFIG, configs.to_json(config))
  found = results.baseline_config(tmp_path / 'study')
  assert found.optimizer.learning_rate == 0.25
  assert len(opened.trials()) == 1


def test_a_new_seed_is_one_that_no_trial_has_had(tmp_path) -> None:
  """Also where a space chooses the seeds of its trials; each is here the first of two."""
  opened = fake_study.open_fake(tmp_path / 'study', storage=f'journal:{tmp_path / "j"}', seeds=2)
  assert results.next_seed(tmp_path / 'study') == 0
  for seed in (3, 8, 5):
    trial = opened.study.ask()
    config = fake_study.Space().propose(trial, opened.study)
    config.seed = seed
    trial.set_user_attr(CONFIG, configs.to_json(study.closed_to_test(config)))
  assert results.next_seed(tmp_path / 'study') == 10


def test_lines_to_copy_hold_together_where_a_folder_has_a_blank(open_fake, work) -> None:
  opened = open_fake()
  work(opened, trials=1)
  named = dataclasses.replace(opened, folder=opened.folder.parent / 'a study')
  named.folder.mkdir()
  path = results.write_best(named)
  assert path is not None
  (line,) = [line for line in path.read_text().splitlines() if 'launch.py' in line]
  assert shlex.split(line) == [
    *('python', 'launch.py', f'--config={path}', f'--workdir={path.with_suffix("")}')
  ]


def test_the_table_is_read_without_optuna(open_fake, work, tmp_path) -> None:
  opened = open_fake()
  work(opened, trials=2)
  rows.Table().write(opened, opened.trials())
  found = table.read_table(tmp_path / 'study')
  assert [row['number'] for row in found] == [0, 1]
  for row, trial in zip(found, opened.trials(), strict=True):
    assert row['val_accuracy'] == trial.value
    assert row['param.x'] == trial.params['x']
    assert (row['state'], row['epochs'], row['run']) == (
      'complete',
      fake_study.EPOCHS,
      f'trials/{trial.number:05d}/seed_0',
    )
    assert 'reason' not in row
  assert table.read_table(tmp_path) == []
  (tmp_path / table.NAME).write_text('number,state,reason,seconds,epochs\n1,odd,,,\n')
  with pytest.raises(UserError, match='is damaged in line 2'):
    table.read_table(tmp_path)
