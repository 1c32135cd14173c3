"""Every verb is there, explains itself, and turns down what it cannot take."""

import pytest

from benchmarks import command_line
from tests.helpers import REPOSITORY
from tests.helpers.python_process import run_python

SPEED = {
  'floor',
  'keras_to_accuracy',
  'pipeline',
  'scaling',
  'start_profile',
  'startup',
  'step_overhead',
} | {
  'throughput',
  'time_to_accuracy',
  'together',
  'tpu',
}
VERBS = SPEED | {'claims', 'collect', 'draw_curves', 'exports', 'queue', 'reproduction'}


def test_the_verbs_are_those_with_a_help_text(capsys) -> None:
  with pytest.raises(SystemExit) as ended:
    command_line.main(['--help'])
  assert ended.value.code == 0
  text = capsys.readouterr().out.partition('\nVerbs:\n')[2]
  listed = [line.split()[0] for line in text.splitlines()]
  assert set(listed) == VERBS
  assert len(listed) == len(VERBS)
  for folder in ('speed', 'results'):
    files = (REPOSITORY / 'benchmarks' / folder).glob('[!_]*.py')
    assert {file.stem for file in files} == (SPEED if folder == 'speed' else VERBS - SPEED)


@pytest.mark.parametrize('verb', sorted(VERBS))
def test_help_of_a_verb_shows_its_use(verb, capsys) -> None:
  with pytest.raises(SystemExit) as ended:
    command_line.main([verb, '--help'])
  assert ended.value.code == 0
  assert f'\n  python -m benchmarks {verb}' in capsys.readouterr().out


def test_help_comes_without_jax() -> None:
  """As a process, with the packages that take time out of reach."""
  block = 'import sys; sys.modules.update(dict.fromkeys(["jax", "keras", "matplotlib", "torch"]))'
  code = f'{block}; import runpy; runpy.run_module("benchmarks", run_name="__main__")'
  finished = run_python('-c', code, '--help')
  assert finished.returncode == 0, finished.stderr
  assert 'time_to_accuracy' in finished.stdout


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['throughput', '--systems=ours,theano'], "'theano' is not among ours, "),
    (['throughput', '--repeats=0'], 'argument --repeats: 0 is no int from 1'),
    (['throughput', '--repeats=many'], 'argument --repeats: many is no int from 1'),
    (['keras_to_accuracy', '--target=83'], 'argument --target: 83 is no float from 0 to 1'),
    (['scaling', '--config.epochs=3'], 'unrecognized: --config.epochs=3'),
    (['throughput', '--confg.epochs=3', '--config.epochs=3'], 'unrecognized: --confg.epochs=3\n'),
    (['collect', 'absent'], 'error: absent has no summary.json'),
    (['step_overhead', '--config=absent.py'], 'error: --config=absent.py: there is no such file'),
    (['step_overhead', '--config.epoch=3'], 'did you mean --config.epochs?'),
  ],
)
def test_mistakes_are_one_sentence(arguments, said, capsys, monkeypatch, tmp_path) -> None:
  monkeypatch.setattr('benchmarks.speed.step_overhead.set_up_process', lambda: None)
  with pytest.raises(SystemExit) as ended:
    command_line.main(arguments)
  assert ended.value.code == 2
  assert said in capsys.readouterr().err
