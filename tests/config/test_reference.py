"""The reference of all options says what is declared."""

import pytest

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.config import reference
from tests.helpers import REPOSITORY


def test_the_page_is_that_of_the_declarations() -> None:
  """`python -m cifar_jax options --markdown > docs/options.md` writes it anew."""
  page = (REPOSITORY / 'docs' / 'options.md').read_text()
  assert page == reference.markdown()
  rows = [line for line in page.splitlines() if line.startswith('| `')]
  assert all(line.count('|') == 5 for line in rows)
  for option in configs.OPTIONS.values():
    assert any(row.startswith(f'| `{option.name.rpartition(".")[2]}` |') for row in rows)
    assert option.doc in page


def test_every_sentence_is_one() -> None:
  for option in configs.OPTIONS.values():
    assert option.doc.endswith('.')
    assert '|' not in option.doc + option.constraint.description


def test_what_is_found(capsys) -> None:
  commands.main(['options', 'sharpness'])
  assert capsys.readouterr().out == (
    '--config.optimizer.sam_rho=None  config.optimizer\n'
    '    Sharpness-aware minimization: how far uphill from the parameters gradients are taken; '
    'None:\n    it is not used. (since format 2) It is a number above 0.\n'
  )
  commands.main(['options', 'EPOCHS', 'warmup'])
  (line, *_) = capsys.readouterr().out.splitlines()
  assert line == "--config.schedule.warmup_epochs=5.0  config.schedule.name = 'warmup_cosine'"
  commands.main(['options', '--markdown'])
  assert capsys.readouterr().out == reference.markdown()


def test_nothing_is_found(capsys) -> None:
  with pytest.raises(SystemExit):
    commands.main(['options', 'epochs', 'nowhere'])
  assert (
    "no option has 'epochs' and 'nowhere' in its name or its sentence" in capsys.readouterr().err
  )
