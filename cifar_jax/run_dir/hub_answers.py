"""What the Hugging Face hub answers, in one sentence each."""

import contextlib
from collections.abc import Iterator

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require


class UnreachableError(UserError):
  """The hub gives no answer, or has a fault of its own: it may have another day."""


@contextlib.contextmanager
def sentences(what: str, repository: str, revision: str, token: str = '') -> Iterator[None]:
  """Makes one sentence of what the library raises.

  Raises:
    UserError: that sentence; an `UnreachableError` where another try may end better.
  """
  (errors,) = require('hub', 'huggingface_hub.errors')
  try:
    yield
  except UserError:
    raise
  except errors.GatedRepoError:
    raise UserError(
      f'{what}: its owner gives access one by one; ask for it on its page, and log in by $HF_TOKEN '
      'or `hf auth login`'
    ) from None
  except errors.RepositoryNotFoundError:
    raise UserError(
      f'{what}: there is no repository {repository}, or it is private and not yours; check '
      'the name, and log in by $HF_TOKEN or `hf auth login`'
    ) from None
  except errors.RevisionNotFoundError:
    raise UserError(f'{what}: {repository} has no revision {revision}') from None
  except errors.HfHubHTTPError as error:
    status = getattr(error.response, 'status_code', 0)
    if status in (401, 403):
      raise UserError(
        f'{what}: the server answered {status}, the token may not do that; log in by $HF_TOKEN, '
        'with a token that may, or `hf auth login`'
      ) from None
    raise _failure(what, f'the server answered {status}', status >= 500) from None
  except Exception as error:  # many kinds, of the library below the library
    reason = ' '.join(str(error.__cause__ or error).split())
    reason = (reason.replace(token, '...') if token else reason)[:200]
    raise _failure(what, reason or type(error).__name__, True) from None


def _failure(what: str, reason: str, passing: bool) -> UserError:
  sentence = f'{what} ({reason})'
  return UnreachableError(f'{sentence}; try again later') if passing else UserError(sentence)
