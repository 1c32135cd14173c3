"""What a check finds, and how findings become a screen or JSON."""

import dataclasses
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from cifar_jax.utils.errors import UserError

Status = Literal['ok', 'note', 'fault']
FORMAT = 1  # of the JSON; raised when a key changes its meaning or goes
_WIDTH = 100
_INDENT = 22


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of the verdict.

  Attributes:
    check: A word that names the check, the same in every version.
    status: 'fault' if something does not work that should; 'note' if all works and something is
      worth knowing, such as data that are not there yet.
    what: What was found, in words.
    fix: What to do about it, mostly a command to copy; '' if there is nothing to do.
    facts: The same for programs.
  """

  check: str
  status: Status
  what: str
  fix: str = ''
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)


Check = Callable[[], Iterable[Finding]]


def examine(name: str, check: Check) -> Iterator[Finding]:
  """Yields what a check finds; that it failed itself is a finding too, never an error.

  Args:
    name: The word for the findings if it fails.
    check: Yields findings.
  """
  try:
    yield from check()
  except UserError as error:
    yield Finding(name, 'fault', str(error))
  except Exception as error:  # whatever is broken here is what the user came for
    said = ' '.join(str(error).split())[:300]
    yield Finding(name, 'fault', f'this check failed ({type(error).__name__}: {said})')


def as_text(finding: Finding) -> str:
  """The lines of a finding on a screen."""
  status = {'ok': 'ok', 'note': 'note', 'fault': 'FAULT'}[finding.status]
  lines = textwrap.wrap(
    finding.what, _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False
  )
  first, *rest = lines or ['']
  shown = [f'{finding.check:<14}{status:<8}{first}', *(' ' * _INDENT + line for line in rest)]
  if finding.fix:  # never broken, so that it can be copied
    shown.append(f'{" " * _INDENT}-> {finding.fix}')
  return '\n'.join(shown)


def verdict(findings: Sequence[Finding]) -> str:
  """One sentence on all findings."""
  faults = [finding.check for finding in findings if finding.status == 'fault']
  notes = [finding.check for finding in findings if finding.status == 'note']
  if faults:
    return f'{_count(len(faults), "fault")} to mend: {", ".join(dict.fromkeys(faults))}'
  if notes:
    return f'healthy, with {_count(len(notes), "note")}: {", ".join(dict.fromkeys(notes))}'
  return 'healthy'


def as_json(findings: Sequence[Finding]) -> str:
  """One JSON object: `format`, `healthy`, `verdict` and `findings`."""
  content = {
    'format': FORMAT,
    'healthy': is_healthy(findings),
    'verdict': verdict(findings),
    'findings': [dataclasses.asdict(finding) for finding in findings],
  }
  return json.dumps(content, indent=2)


def is_healthy(findings: Iterable[Finding]) -> bool:
  """Whether nothing is at fault."""
  return all(finding.status != 'fault' for finding in findings)


def _count(number: int, thing: str) -> str:
  return f'{number} {thing}{"s" if number > 1 else ""}'
