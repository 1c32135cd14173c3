"""How errors reach the user."""

import pytest
from jax.errors import JaxRuntimeError

from cifar_jax.utils.errors import exit_on_user_error


@pytest.mark.parametrize(
  ('error', 'reason'),
  [
    (MemoryError(), 'MemoryError'),
    (JaxRuntimeError('RESOURCE_EXHAUSTED: Out of\nmemory'), 'RESOURCE_EXHAUSTED: Out of memory'),
  ],
)
def test_too_little_memory_is_one_sentence(error, reason, capsys) -> None:
  with pytest.raises(SystemExit) as ended, exit_on_user_error():
    raise error
  assert ended.value.code == 2
  sentence = capsys.readouterr().err
  assert sentence.startswith(f'error: there is not enough memory ({reason}); ')
  assert sentence.count('\n') == 1


@pytest.mark.parametrize('error', [RuntimeError('a bug'), JaxRuntimeError('INTERNAL: a bug')])
def test_what_is_no_mistake_of_the_user_keeps_its_traceback(error) -> None:
  with pytest.raises(type(error)), exit_on_user_error():
    raise error
