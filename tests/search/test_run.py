"""The command line of a study: what is refused before a study begins, and what it says."""

import os
import shlex
import subprocess
import sys

import pytest

from cifar_jax import commands
from cifar_jax.search import run, show
from cifar_jax.startup import processor
from tests.helpers import REPOSITORY

SPACE = """
from configs import quickstart
def get_config({argument}):
  config = quickstart.get_config()
  {line}
  return config
"""
ANY = "config.optimizer.learning_rate = trial.suggest_float('rate', 1e-4, 1e-2)"


@pytest.mark.parametrize(
  ('argument', 'line', 'words', 'said'),
  [
    ('trial', 'pass', (), 'asks its trial for nothing, so that all trials would be the same'),
    ('', 'pass', (), 'is a config and no space: its get_config() takes no trial'),
    ('trial', ANY, ('--sampler=grid',), "--sampler=grid tries all values, and 'rate' has no end"),
    ('trial', ANY, ('--workers=0',), '--workers=0: give 1 to 256'),
    ('trial', ANY, ('--workers=100000',), '--workers=100000: give 1 to 256'),
    ('trial', ANY, ('--seeds=1001',), '--seeds=1001: give 1 to 1000'),
    ('trial', ANY, ('--config.evaluate.test=True',), 'trials of a study never open the test set'),
    ('trial', ANY, ('--config.evaluate.test',), '--config.evaluate.test: trials of a study never'),
    ('trial', ANY, ('--folder={run}',), 'is the folder of a run; choose another one'),
  ],
)
def test_a_study_that_makes_no_sense_is_not_begun(
  tmp_path, capsys, argument, line, words, said
) -> None:
  (tmp_path / 'space.py').write_text(SPACE.format(argument=argument, line=line))
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').write_text('{}')
  given = [word.format(run=tmp_path / 'run') for word in (f'--folder={tmp_path / "new"}', *words)]
  with pytest.raises(SystemExit) as end:
    commands.main(['search', str(tmp_path / 'space.py'), *given])
  assert end.value.code == 2
  assert said in capsys.readouterr().err
  assert not (tmp_path / 'new').exists()
  assert [path.name for path in (tmp_path / 'run').iterdir()] == ['config.json']


@pytest.mark.parametrize('path', ['absent.py', '.'])
def test_a_space_that_is_not_there_is_called_by_its_path(
  tmp_path, monkeypatch, capsys, path
) -> None:
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit):
    commands.main(['search', path])
  assert capsys.readouterr().err.startswith(f'error: {path}')


def test_looking_at_a_study_tells_how_to_go_on(open_fake, work) -> None:
  """Blanks in its folder or its space do not break the line; what is usual is left out."""
  opened = open_fake(space='my space.py', pruner='median', overrides=('--config.epochs=3',))
  work(opened, trials=1)
  command = shlex.split(run._command_of(opened))
  assert command[3:6] == ['search', 'my space.py', f'--folder={opened.folder}']
  assert {'--pruner=median', '--config.epochs=3', '--trials=N'} < set(command[6:])
  assert not any(word.startswith(('--seeds', '--objectives')) for word in command)
  assert show.counted(opened.trials()) == '1 trial'


@pytest.mark.parametrize(
  ('workers', 'cores', 'said'),
  [
    (1, 8, '1'),
    (2, 2, '2, 1 core each'),
    (2, 8, '2, 4 cores each'),
    (3, 8, '3, 2 or 3 cores each'),
    (3, 2, '3, 1 core each, of which there are 2'),
  ],
)
def test_how_many_cores_each_worker_has(monkeypatch, workers, cores, said) -> None:
  monkeypatch.setattr(
    os, 'sched_setaffinity', None, raising=False
  )  # it is asked whether it is there
  monkeypatch.setattr(processor, 'cores', lambda: list(range(cores)))
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert run._crew(workers) == said
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  assert run._crew(workers) == str(workers)


@pytest.mark.thorough
def test_a_reader_that_has_seen_enough_stops_no_study(tmp_path, tiny_data) -> None:
  """`| head -1`: the page and the best config are written all the same."""
  (tmp_path / 'space.py').write_text(SPACE.format(argument='trial', line=ANY))
  command = [
    *(sys.executable, '-m', 'cifar_jax', 'search', str(tmp_path / 'space.py'), '--trials=1'),
    *(f'--folder={tmp_path / "study"}', '--config.data.name=tiny', '--config.max_steps=2'),
    *(f'--config.data.dir={tiny_data}', '--config.data.validation=20'),
  ]
  environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
  with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout
    assert process.stdout.readline().startswith('study')
    process.stdout.close()
    assert process.wait(300) == 0
  assert {'best.py', 'index.html', 'trials.csv'} < {
    path.name for path in (tmp_path / 'study').iterdir()
  }
