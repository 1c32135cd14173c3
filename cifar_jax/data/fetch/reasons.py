"""What servers and failed connections say, in few words."""

import re

import requests
import urllib3


def status(response: requests.Response) -> str:
  """Its number and word, as "404 Not Found"."""
  return f'{response.status_code} {response.reason or ""}'.strip()[:60]


def retry_after(response: requests.Response) -> float:
  """The seconds after which a busy server wants to be asked again; 0 where it does not say."""
  text = response.headers.get('retry-after', '')
  return float(text) if re.fullmatch(r'[0-9]{1,6}', text) else 0.0


def cause(error: BaseException) -> str:
  """What is at the bottom of a failed connection."""
  found: BaseException | None = error
  while found is not None:
    if isinstance(found, urllib3.exceptions.NameResolutionError):
      return 'its name cannot be looked up'
    if isinstance(found, OSError) and found.strerror and not isinstance(found, requests.Timeout):
      return found.strerror.lower()
    nested = [part for part in found.args if isinstance(part, BaseException)]
    reason = getattr(found, 'reason', None)
    if isinstance(reason, BaseException):
      nested.append(reason)
    found = nested[0] if nested else found.__cause__ or found.__context__
  return 'closed the connection without an answer'
