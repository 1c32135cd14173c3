"""The page as a file, and the library in it."""

import base64
import hashlib
import json
import re
from importlib import resources

import pytest

from cifar_jax import commands
from cifar_jax.dashboard import page, snapshot
from tests.helpers import shown_runs


def told(text: str) -> dict:
  block = re.search(
    r'<script type="application/json" id="snapshot">(.*?)</script>', text, re.DOTALL
  )
  return json.loads(block[1])


def test_the_library_is_what_its_authors_released() -> None:
  folder = resources.files('cifar_jax.dashboard.page')
  lines = (folder / 'uPlot.sha256').read_text().splitlines()
  assert len(lines) == 3
  for line in lines:
    digest, name = line.split()
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
  # Of uplot-1.6.32.tgz in the npm registry.
  assert lines[0].startswith('19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f')
  assert 'MIT' in (folder / 'uPlot.LICENSE').read_text()


def test_a_file_needs_nothing_else_and_runs_its_own_scripts_alone(tmp_path) -> None:
  hostile = 'x</script><script>alert(1)<'
  run = shown_runs.write_run(tmp_path / hostile.replace('/', '|'), 2, tags=(hostile,))
  snapshot.write_page(tmp_path / 'out' / 'index.html', [run], {'sort': '-val_loss'})
  text = (tmp_path / 'out' / 'index.html').read_text()
  (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
  scripts = re.findall(r'<script>(.*?)</script>', text, re.DOTALL)
  styles = re.findall(r'<style>(.*?)</style>', text, re.DOTALL)
  assert (len(scripts), len(styles)) == (len(page.SCRIPTS), len(page.STYLES))
  for body in (*scripts, *styles):
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
  assert 'unsafe' not in policy
  assert '<script>alert' not in text
  assert not re.search(r'<(?:script|link|img)[^>]* (?:src|href)="(?!data:)', text)
  content = told(text)
  assert content['choices'] == {'sort': '-val_loss'}
  assert content['runs'][0]['row']['tags'] == hostile
  assert len(content['runs'][0]['curves']['epoch']) == 2


def test_compare_keeps_its_order_and_columns(tmp_path, capsys) -> None:
  for seed in (0, 1):
    shown_runs.write_run(tmp_path / 'runs' / f'seed_{seed}', 3, seed=seed)
  arguments = ['compare', str(tmp_path / 'runs'), f'--html={tmp_path / "a.html"}']
  commands.main([*arguments, '--sort=val_loss', '--columns=run,val_loss'])
  content = told((tmp_path / 'a.html').read_text())
  expected = {'sort': 'val_loss', 'columns': 'run,val_loss', 'group': 'seeds'}
  assert content['choices'] == expected
  assert len(content['runs']) == 2
  commands.main([*arguments, '--order=ascending'])
  assert told((tmp_path / 'a.html').read_text())['choices']['sort'] == 'val_accuracy'
  commands.main(arguments)
  assert told((tmp_path / 'a.html').read_text())['choices']['sort'] == '-val_accuracy'
  shown_runs.write_run(tmp_path / 'runs' / 'mine', 1, tags=('mine',))
  shown_runs.write_study(tmp_path / 'runs' / 'study', [])
  for more, runs, studies in (([], 3, 1), (['--tag=mine'], 1, 0)):
    commands.main([*arguments, *more])
    content = told((tmp_path / 'a.html').read_text())
    assert (len(content['runs']), len(content['studies'])) == (runs, studies)
  assert 'look at' in capsys.readouterr().out
  with pytest.raises(SystemExit):
    commands.main(['compare', str(tmp_path / 'runs'), f'--html={tmp_path / "runs"}'])
