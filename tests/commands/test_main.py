"""The command line that all verbs share."""

import pytest

import launch
from cifar_jax import commands
from cifar_jax.commands import parsing
from cifar_jax.run_dir import hub
from cifar_jax.startup.processor import processor_name


@pytest.fixture
def set_before(monkeypatch) -> list[str]:
  """What was set before a verb began, in order."""
  found: list[str] = []
  monkeypatch.setattr(commands.host_memory, 'configure_malloc', lambda: found.append('malloc'))
  monkeypatch.setattr(commands.xla_flags, 'set_flags', lambda: found.append('flags'))
  return found


def test_memory_and_flags_are_set_before_any_verb_begins(set_before, capsys) -> None:
  commands.main(['lesson', 'layers'])
  assert set_before == ['malloc', 'flags']
  titles, *kinds = capsys.readouterr().out.splitlines()
  column = titles.index('parameters')
  parameters = {line.split()[0]: line[column:] for line in kinds}
  assert parameters['ReLU'] == parameters['max-pooling'] == parameters['softmax'] == 'none'
  assert parameters['convolution'] == 'window x input channels + 1 per filter'


@pytest.mark.parametrize('option', ['--neighbors', '--neighbours'])
def test_a_page_goes_on_giving_memory_back(set_before, option, capsys) -> None:
  """Both spellings of its option are understood."""
  with pytest.raises(SystemExit) as end:
    commands.main(['serve', 'nowhere', f'{option}=-1'])
  assert end.value.code == 2
  assert capsys.readouterr().err == 'error: --neighbors=-1: give 0 or more\n'
  assert set_before == ['flags']


def test_the_processor_has_a_name() -> None:
  name = processor_name()
  assert name.strip() == name != ''
  assert ':' not in name


@pytest.mark.parametrize(
  'words',
  [
    ('repeat', '--config=lr', '--workdir='),
    ('search', 'space.py', '--folder='),
    ('lr_range', '--config=lr', '--out='),
    ('compare', ''),
    ('final', ''),
  ],
)
def test_an_empty_path_is_not_the_current_folder(words, capsys) -> None:
  with pytest.raises(SystemExit) as end:
    commands.main(words)
  assert end.value.code == 2
  assert 'it is empty; name a path' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('words', 'overrides', 'data_options'),
  [
    (['data', '--config.data.dir=my photos'], ['--config.data.dir=my photos'], []),
    (['evaluate', '--data.dir', 'my photos', 'RUN'], [], ['--data.dir=my photos']),
  ],
)
def test_a_value_with_a_space_is_that_of_its_option(words, overrides, data_options) -> None:
  arguments = parsing.parse(commands.make_parser(), words)
  assert (arguments.overrides, arguments.data_options) == (overrides, data_options)


def test_an_option_of_another_verb_is_named(capsys) -> None:
  with pytest.raises(SystemExit):
    commands.main(['card', 'RUN', '--config.data.dir=my photos'])
  assert "unrecognized: '--config.data.dir=my photos'" in capsys.readouterr().err


def test_help_lists_each_verb_once_by_group(capsys) -> None:
  with pytest.raises(SystemExit) as end:
    commands.main([])
  assert end.value.code == 2
  text = capsys.readouterr().err
  assert text.index('\nTrain:\n') < text.index('\nLook:\n') < text.index('\nUse:\n')
  verbs = [line.split()[0] for line in text.split('\nTrain:\n')[1].splitlines() if line[:2] == '  ']
  assert sorted(verbs) == sorted(commands.make_parser().verbs.choices)
  assert '\nVerbs:\n' not in text, 'a verb names no group'
  assert text.index('  repeat ') > text.index('\nTry many:\n') > text.index('  predict ')


def test_a_verb_of_the_other_command_is_sent_there(capsys) -> None:
  with pytest.raises(SystemExit) as end:
    launch._parse(['launch.py', 'evaluate', 'runs/lr'])
  assert end.value.code == 2
  assert capsys.readouterr().err == (
    "error: 'evaluate' is no option, and launch.py has no verbs; python -m cifar_jax lists them\n"
  )


@pytest.mark.parametrize(
  ('word', 'answer'),
  [
    ('evalute', "error: there is no verb 'evalute'; did you mean 'evaluate'?\n"),
    ('train', 'error: to train, run python launch.py --config=configs/NAME.py\n'),
  ],
)
def test_a_wrong_verb_is_answered_with_the_right_one(word, answer, capsys) -> None:
  with pytest.raises(SystemExit) as end:
    commands.main([word, 'runs/lr'])
  assert (end.value.code, capsys.readouterr().err) == (2, answer)


def test_an_interrupted_download_of_a_run_ends_without_a_traceback(monkeypatch, capsys) -> None:
  def interrupted(_: object) -> None:
    raise KeyboardInterrupt

  monkeypatch.setattr(hub, 'fetch', interrupted)
  with pytest.raises(SystemExit) as caught:
    commands.main(['card', 'hub:me/net'])
  assert caught.value.code == 130
  assert capsys.readouterr().err == 'interrupted\n'
