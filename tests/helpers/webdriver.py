"""Chromium driven through chromedriver's HTTP interface, as far as tests of pages need it."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from typing import Any

import pytest

_DRIVER, _BROWSER = shutil.which('chromedriver'), shutil.which('chromium')
needs_driver = pytest.mark.skipif(
  not (_DRIVER and _BROWSER), reason='there is no Chromium with chromedriver'
)
_ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'  # of the W3C WebDriver standard


class Driver:
  """One window of the given width in pixels, with fingers or a mouse; use as a context manager."""

  def __init__(self, width: int, dark: bool, mouse: bool = False):
    self._mouse = mouse
    self._profile = tempfile.TemporaryDirectory()
    assert _DRIVER
    self._process = subprocess.Popen(
      [_DRIVER, '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert self._process.stdout
    for line in self._process.stdout:
      if match := re.search(r'started successfully on port (\d+)', line):
        self._root = f'http://127.0.0.1:{match[1]}'
        break
    options = {
      'binary': _BROWSER,
      'args': [
        *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
        *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
        f'--user-data-dir={self._profile.name}',
        f'--blink-settings=preferredColorScheme={0 if dark else 1}',
        f'--window-size={width},900',
      ],
    }
    if not mouse:
      metrics = {'width': width, 'height': 900, 'pixelRatio': 1}
      options['mobileEmulation'] = {'deviceMetrics': metrics}
    wanted = {'capabilities': {'alwaysMatch': {'goog:chromeOptions': options}}}
    self._session = self._call('POST', '/session', wanted)['sessionId']

  def __enter__(self) -> 'Driver':
    return self

  def __exit__(self, *_: object) -> None:
    self._call('DELETE', f'/session/{self._session}')
    self._process.terminate()
    self._process.wait()
    if self._process.stdout:
      self._process.stdout.close()
    self._profile.cleanup()

  def open(self, address: str) -> None:
    self._call('POST', f'/session/{self._session}/url', {'url': address})

  def upload(self, selector: str, path: pathlib.Path) -> None:
    """Chooses a file in an input of the page."""
    body = {'using': 'css selector', 'value': selector}
    element = self._call('POST', f'/session/{self._session}/element', body)[_ELEMENT]
    self._call(
      'POST', f'/session/{self._session}/element/{element}/value', {'text': str(path.absolute())}
    )

  def run(self, script: str) -> Any:
    """What a JavaScript expression gives."""
    body = {'script': f'return {script}', 'args': []}
    return self._call('POST', f'/session/{self._session}/execute/sync', body)

  def drag(self, *paths: list[tuple[float, float]]) -> None:
    """Presses, moves and lets go: a mouse along a path of points in pixels, or several fingers."""
    fingers = []
    for number, (start, *rest) in enumerate(paths):
      moves = [
        {'type': 'pointerMove', 'x': round(x), 'y': round(y), 'duration': 100} for x, y in rest
      ]
      first = {'type': 'pointerMove', 'x': round(start[0]), 'y': round(start[1])}
      down, up = ({'type': f'pointer{kind}', 'button': 0} for kind in ('Down', 'Up'))
      kind = {'pointerType': 'mouse' if self._mouse else 'touch'}
      actions = [first, down, *moves, up]
      pointer = {'type': 'pointer', 'id': f'pointer{number}', 'parameters': kind}
      fingers.append({**pointer, 'actions': actions})
    self._call('POST', f'/session/{self._session}/actions', {'actions': fingers})

  def wait(self, script: str, seconds: float = 60) -> Any:
    """The first value of an expression that is true."""
    end = time.monotonic() + seconds
    while not (value := self.run(script)):
      assert time.monotonic() < end, f'{script} stayed {value!r}'
      time.sleep(0.2)
    return value

  def screenshot(self, path: pathlib.Path) -> None:
    path.write_bytes(base64.b64decode(self._call('GET', f'/session/{self._session}/screenshot')))

  def _call(self, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(self._root + path, data, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
      return json.load(answer)['value']
