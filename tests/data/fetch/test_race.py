"""Which of several mirrors goes on, and what is said when none does."""

import dataclasses
import errno
import hashlib
import pathlib
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cifar_jax.data.fetch import race as races
from cifar_jax.data.fetch.download import Download, Patience, RefusedError
from cifar_jax.data.fetch.mirrors import Mirror, RemoteFile
from cifar_jax.data.fetch.race import Runner, race
from cifar_jax.utils.errors import UserError
from tests.helpers.file_server import Site, serving
from tests.helpers.wait import wait_for

CONTENT = b'\x1f\x8b' + random.Random(0).randbytes(400_000)
QUICK = Patience(
  connect=1, silence=0.5, trial=0.2, worthwhile=0.5, pause=0.01, longest_pause=1, tries=2
)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  with ExitStack() as stack:
    yield lambda **settings: stack.enter_context(
      serving(Site(**{'files': {'/a.gz': CONTENT}, **settings}))
    )


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Callable[..., str]:
  """Races sites; returns the address of the one whose file was accepted."""

  def run(*sites: Site, accept: Callable[[Runner], object] | None = None) -> str:
    md5 = hashlib.md5(CONTENT).hexdigest()
    mirrors = {
      Mirror((RemoteFile(f'{site.url}/a.gz', 'a.gz', len(CONTENT), md5),)): tmp_path / str(number)
      for number, site in enumerate(sites)
    }
    _, runner = race(mirrors, accept or (lambda runner: None), 'data', QUICK, lambda text: None)
    assert (runner.folder / 'a.gz').read_bytes() == CONTENT
    return runner.mirror.files[0].url.removesuffix('/a.gz')

  return run


@pytest.mark.parametrize('order', [1, -1])
def test_the_faster_one_goes_on(serve, run, order) -> None:
  slow, fast = serve(rate=20_000), serve(rate=600_000)
  start = time.monotonic()
  assert run(*(slow, fast)[::order]) == fast.url
  assert time.monotonic() - start < 3  # the slow one needs 20 s
  assert slow.sent < 20_000


def test_the_slower_one_that_has_nearly_everything_goes_on(serve, run, tmp_path) -> None:
  slow, fast = serve(rate=100_000), serve(rate=200_000)
  (tmp_path / '0').mkdir()
  (tmp_path / '0/a.gz.part').write_bytes(CONTENT[:360_000])
  (tmp_path / '0/a.gz.part.json').write_text(f'{{"url": "{slow.url}/a.gz"}}')
  assert run(slow, fast) == slow.url
  assert wait_for(lambda: slow.sent == len(CONTENT) - 360_000, 5)  # the server counts afterwards


def test_of_the_slower_one_no_more_is_taken_than_tells_its_speed(serve, run, monkeypatch) -> None:
  monkeypatch.setattr(races, '_BYTES_OF_A_TRIAL', 30_000)
  monkeypatch.setattr(sys.modules[__name__], 'QUICK', dataclasses.replace(QUICK, trial=60))
  slower, fast = serve(rate=150_000), serve(rate=300_000)
  assert run(slower, fast) == fast.url
  assert slower.sent < 120_000  # of 200,000 in the time of the other


def test_where_two_find_no_room_one_goes_on(serve, run, tmp_path, monkeypatch) -> None:
  """The disk holds one copy and a quarter; both are as fast."""
  chunks = Download._chunks

  def limited(self, response):
    for chunk in chunks(self, response):
      used = sum(part.stat().st_size for part in tmp_path.glob('*/a.gz*'))
      if used + len(chunk) > 1.25 * len(CONTENT):
        raise OSError(errno.ENOSPC, 'No space left on device')
      yield chunk

  monkeypatch.setattr(Download, '_chunks', limited)
  sites = [serve(rate=300_000), serve(rate=300_000)]
  assert run(*sites) in {site.url for site in sites}
  assert len(list(tmp_path.glob('*/a.gz'))) == 1
  (tmp_path / '2').mkdir()
  (tmp_path / '2/a.gz.part').write_bytes(CONTENT)  # of somebody else
  for site in (0, 1):
    shutil.rmtree(tmp_path / str(site), ignore_errors=True)
  with pytest.raises(OSError, match='No space left'):
    run(*sites)


def test_others_are_tried_while_both_are_slow(serve, run) -> None:
  slow = [serve(rate=20_000), serve(rate=40_000), serve(rate=10_000)]
  fast = serve(rate=1_000_000)
  assert run(*slow, fast) == fast.url


def test_others_are_left_alone_where_it_is_done_soon(serve, run) -> None:
  sites = [serve(rate=900_000), serve(rate=20_000), serve()]
  assert run(*sites) == sites[0].url
  assert sites[2].requests == []


@pytest.mark.parametrize(
  'settings',
  [
    {'stall': 300_000, 'ranges': False},
    {'cut': [300_000, 0, 0, 0], 'rate': 2_000_000},
    {'silent': True},
    {'closes': True},
    {'status': [403]},
    {'status': [503], 'headers': {'Retry-After': '30'}},
    {'headers': {'Content-Type': 'text/html'}},
  ],
)
def test_one_that_fails_is_left_for_the_next(serve, run, settings) -> None:
  bad, good = serve(**settings), serve(rate=1_500_000)
  assert run(bad, good) == good.url


def test_one_that_becomes_slow_is_left(serve, run) -> None:
  first, second = serve(rate=400_000, slower=(100_000, 5_000)), serve(rate=200_000)
  assert run(first, second) == second.url


def test_other_bytes_are_left_for_the_next(serve, run) -> None:
  other, good = serve(files={'/a.gz': CONTENT[:-1] + b'?'}), serve(rate=1_500_000)
  assert run(other, good) == good.url


def test_what_is_not_accepted_is_left_for_the_next(serve, run) -> None:
  sites = [serve(), serve(rate=1_500_000)]

  def accept(runner: Runner) -> None:
    if runner.mirror.host in sites[0].url:
      raise RefusedError('has other images')

  assert run(*sites, accept=accept) == sites[1].url


def test_a_part_of_before_may_be_what_is_not_accepted(serve, run, tmp_path) -> None:
  site, calls = serve(), []
  (tmp_path / '0').mkdir()
  (tmp_path / '0/a.gz.part').write_bytes(CONTENT[:100_000])
  (tmp_path / '0/a.gz.part.json').write_text(f'{{"url": "{site.url}/a.gz"}}')

  def accept(runner: Runner) -> None:
    calls.append(runner)
    if len(calls) == 1:
      (runner.folder / 'a.gz').unlink()
      raise RefusedError('has other images')

  assert run(site, accept=accept) == site.url
  assert [text for _, text in site.requests] == ['bytes=100000-', '']


def test_the_last_word_says_what_each_of_them_answered(serve, run) -> None:
  sites = [serve(status=[403]), serve(silent=True), serve(files={})]
  with pytest.raises(UserError) as caught:
    run(*sites)
  words = ('answers 403', 'silent for 0.5 s', 'answers 404')
  for site, detail, word in zip(sites, caught.value.details, words, strict=True):
    assert detail.startswith(f'{site.url}/a.gz: {word}')


def test_the_reason_of_most_mirrors_is_named(serve, run) -> None:
  sites = [serve(files={}), serve(status=[403]), serve(status=[403])]
  with pytest.raises(UserError, match=r'^2 of 3 mirrors: answers 403 Forbidden$'):
    run(*sites)


def test_a_full_disk_ends_it(serve, run, tmp_path) -> None:
  (tmp_path / '0').mkdir()
  (tmp_path / '0/a.gz.part').mkdir()  # cannot be written
  with pytest.raises(OSError, match='directory'):
    run(serve())
