"""The dashboard in a browser, while its runs change."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from cifar_jax.dashboard import snapshot, watch
from cifar_jax.run_dir.metric_writers import RunWriter
from cifar_jax.search import table
from cifar_jax.web import http_server
from tests.helpers import REPOSITORY, shown_runs
from tests.helpers.webdriver import Driver, needs_driver

pytest.importorskip('flask')
pytest.importorskip('waitress')

from cifar_jax.dashboard import web_app

pytestmark = [needs_driver, pytest.mark.slow]
HOSTILE = '<img src=x onerror="window.hacked=1">'
HOLDS_LOCK = """
import pathlib, sys, time
from cifar_jax.run_dir.lock import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(600)
"""
ROWS = 'document.querySelectorAll("#table tbody tr[data-run]")'
NAMES = f'[...{ROWS}].map(row => row.querySelector(".name").textContent)'
STATES = f'[...{ROWS}].map(row => row.querySelector(".state").className.slice(6))'


@contextlib.contextmanager
def serving(*folders) -> Iterator[str]:
  app = web_app.make_app(watch.Watch(folders), '127.0.0.1')
  server = http_server.make_server(app, '127.0.0.1', 0)
  threading.Thread(target=server.run, daemon=True).start()
  try:
    yield f'http://127.0.0.1:{http_server.port_of(server)}/'
  finally:
    server.close()


@pytest.fixture
def runs(tmp_path):
  folder = tmp_path / 'runs'
  for seed in (0, 1):
    run = folder / f'x_seeds/seed_{seed}'
    shown_runs.write_run(run, 3, seed=seed, batch_size=16, better=seed / 50)
  for name in ('first', 'second', 'third'):
    shown_runs.write_run(
      folder / name, 1, epochs=9, evaluate__images_every_epochs=1, tensorboard=True
    )
  trial = {'state': 'complete', 'reason': HOSTILE, 'run': HOSTILE, f'param.{HOSTILE}': HOSTILE}
  values = [0.5, 0.7, 0.6]
  trials = [{**trial, 'number': n, 'val_accuracy': value} for n, value in enumerate(values)]
  shown_runs.write_study(folder / 's', trials)
  return folder


@pytest.mark.parametrize(('width', 'dark'), [(375, True), (1200, False)])
def test_runs_train_are_killed_damaged_deleted_and_renamed(runs, width, dark, tmp_path) -> None:
  trainer = subprocess.Popen(
    [sys.executable, '-c', HOLDS_LOCK, str(runs / 'first')],
    stdout=subprocess.PIPE,
    cwd=REPOSITORY,
  )
  assert trainer.stdout
  assert trainer.stdout.readline() == b'held\n'
  with serving(runs) as address, Driver(width, dark) as page:
    page.open(address + '#sort=run')
    page.wait(f'{ROWS}.length === 5')
    assert page.run(NAMES) == ['first', 'second', 'third', 'x_seeds/seed_0', 'x_seeds/seed_1']
    assert page.run(STATES) == ['training', 'stopped', 'stopped', 'finished', 'finished']
    assert page.run('plot.plot.data.length') == 1 + 2 * 5
    shown_runs.add_row(runs / 'first', 2, val_accuracy=0.875)
    page.wait('find("table").textContent.includes("87.50 %")')
    assert page.run('plot.plot.data[0].length') == 3
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    trainer.stdout.close()
    page.wait(f'{STATES}[0] === "stopped"')
    (runs / 'second' / 'config.json').write_text('{"format"')
    page.wait(f'{STATES}.at(-1) === "damaged"')
    shutil.rmtree(runs / 'third')
    page.wait(f'{ROWS}.length === 4')
    (runs / 'first').rename(runs / 'zzz')
    page.wait(f'{NAMES}.includes("zzz")')
    shown_runs.write_run(runs / 'new', 0, epochs=9)
    page.wait(f'{NAMES}.includes("new")')
    place = f'{NAMES}.indexOf("new")'
    page.run(f'{ROWS}[{place}].click()')
    page.wait('!find("detail").hidden')
    (runs / 'new').rename(tmp_path / 'away')
    page.wait('find("detail").textContent.includes("This run was deleted, moved or renamed")')
    (tmp_path / 'away').rename(runs / 'new')
    page.wait('!find("detail").textContent.includes("This run was deleted")')
    page.run('document.querySelector("#detail [data-key=close]").click()')
    assert page.run('find("status").textContent') == 'live'
    assert page.run('document.documentElement.scrollWidth') <= width
    page.screenshot(tmp_path / 'page.png')


def test_the_command_itself_and_a_page_whose_server_is_gone(runs) -> None:
  command = [sys.executable, '-m', 'cifar_jax', 'dashboard', str(runs), '--port=0']
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as server:
    assert server.stdout
    match = re.search(r'at (http://127.0.0.1:\d+/)', server.stdout.readline())
    assert match
    with Driver(1200, False) as page:
      page.open(match[1])
      page.wait(f'{ROWS}.length === 5')
      server.send_signal(signal.SIGINT)
      assert server.wait(20) == 0
      page.wait('find("status").textContent.includes("does not answer")')
      assert page.run(f'{ROWS}.length') == 5


def test_choices_are_kept_in_the_address(runs) -> None:
  with serving(runs) as address, Driver(1200, False) as page:
    page.open(address)
    page.wait(f'{ROWS}.length === 5')
    page.run('document.querySelector("[data-key=\'sort:val_loss\']").click()')
    for control, value, event in (
      ('filter', 'state=finished', 'input'),
      ('group', 'seeds', 'change'),
    ):
      page.run(f'find("{control}").value = "{value}"')
      page.run(f'find("{control}").dispatchEvent(new Event("{event}"))')
    page.run('document.querySelector("[data-key=\'metric:loss\']").click()')
    page.wait('document.querySelectorAll("#table tr.summary").length === 1')
    address_now = page.run('location.href')
    table = page.run('find("table").innerText')
    assert '67.67 ± 1.41 %' in table
    assert 'x_seeds (2)' in table
    page.open('about:blank')
    page.open(address_now)
    page.wait('document.querySelectorAll("#table tr.summary").length === 1')
    assert page.run('find("table").innerText') == table
    assert page.run('find("filter").value') == 'state=finished'
    assert page.run('plot.metric') == 'loss'
    page.run('document.querySelector("#table tr.summary").click()')
    page.wait(f'{ROWS}.length === 2')
    page.run('find("reset").click()')
    page.wait(f'{ROWS}.length === 5')


@pytest.mark.parametrize('mouse', [True, False])
def test_the_plot_is_zoomed_by_a_mouse_and_by_fingers(runs, mouse) -> None:
  shown_runs.write_run(runs / 'long', 40, epochs=50)
  scale = '[plot.plot.scales.x.min, plot.plot.scales.x.max]'
  with serving(runs) as address, Driver(1200 if mouse else 375, False, mouse) as page:
    page.open(address)
    page.wait(f'{ROWS}.length === 6')
    left, width, y = page.run(
      '(box => [box.left, box.width, box.top + 100])(plot.plot.over.getBoundingClientRect())'
    )
    at = [(left + share * width, y) for share in (0.1, 0.3, 0.4, 0.6, 0.7, 0.9)]
    if mouse:
      page.drag([at[1], at[2], at[3]])
      expected = [1 + 0.3 * 39, 1 + 0.6 * 39]
    else:
      page.drag([at[2], at[1]])
      page.wait('!plot.tip.hidden')
      assert 'epoch' in page.run('plot.tip.textContent')
      page.drag([at[2], at[1], at[0]], [at[3], at[4], at[5]])  # from a fifth to four fifths
      expected = [1 + 0.375 * 39, 1 + 0.625 * 39]
    page.wait('location.hash.includes("zoom=")')
    assert page.run(scale) == [pytest.approx(each, abs=0.5) for each in expected]
    kept = page.run('location.href')
    page.open('about:blank')
    page.open(kept)
    page.wait(f'{ROWS}.length === 6')
    assert page.run(scale) == [pytest.approx(each, abs=0.5) for each in expected]
    page.run('document.querySelector("[data-key=whole]").click()')
    assert page.run(scale) == [1, 40]


@pytest.mark.parametrize('alone', [False, True])
def test_names_and_values_are_text(tmp_path, alone) -> None:
  """In the live page and in a file; what was injected would run from anywhere."""
  runs = tmp_path / 'runs'
  run = shown_runs.write_run(
    runs / HOSTILE, 1, epochs=5, tags=(HOSTILE,), tensorboard=True,
    evaluate__images_every_epochs=1, model__head=(HOSTILE,),
  )  # fmt: skip
  other = shown_runs.write_run(runs / '</script><b id="hacked">', 3, data__name=HOSTILE)
  broken = shown_runs.write_run(runs / f'{HOSTILE}2', 1)
  (broken / 'config.json').write_text(f'{{"{HOSTILE}": ')
  with RunWriter(run, [shown_runs.row(1)], 6, tensorboard=True) as writer:
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    writer.write_images(6, lambda: ({'misclassified': batch}, {'misclassified': HOSTILE}))
  trial = {'number': 0, 'state': 'complete', 'reason': HOSTILE, f'param.{HOSTILE}': HOSTILE}
  study = shown_runs.write_study(runs / f'study {HOSTILE}', [{**trial, 'val_accuracy': 0.5}])
  (study / 'study.json').write_text(json.dumps({'objectives': ['val_accuracy', HOSTILE]}))
  with contextlib.ExitStack() as stack:
    if alone:
      snapshot.write_page(tmp_path / 'page.html', [runs], {})
      address = (tmp_path / 'page.html').as_uri()
    else:
      address = stack.enter_context(serving(runs))
    page = stack.enter_context(Driver(1200, False))
    page.open(address)
    page.wait(f'{ROWS}.length === 3')
    for number in range(3):
      page.run(f'{ROWS}[{number}].click()')
      page.wait('!find("detail").hidden')
      page.run('page.close()')
    identity = watch.id_of(run)
    page.run(f'page.set({{run: {json.dumps(identity)}}})')
    if not alone:
      page.wait('document.querySelector("#detail figcaption")')
      page.wait('document.querySelector("#detail .gallery img").naturalWidth === 4')
      assert HOSTILE in page.run('document.querySelector("#detail figcaption").textContent')
    for group in ('data', 'tags', 'model.head', 'folder'):
      page.run(f'page.set({{group: "{group}"}})')
    page.run(f'plot.highlight(known.runs.get({json.dumps(watch.id_of(other))}))')
    page.run('page.set({view: "studies", run: ""})')
    page.wait('document.querySelectorAll("#studies-view tbody tr").length === 1')
    assert HOSTILE in page.run('find("studies-view").innerText')
    assert page.run('window.hacked ?? null') is None
    assert page.run('document.querySelector("[onerror], #hacked")') is None
    kinds = '[...document.images].every(image => image.src.includes("/image/"))'
    assert page.run(kinds)


def test_an_evolution_shows_the_best_of_its_last_stage(tmp_path) -> None:
  """A network of an earlier stage, or one of another length, is never the best."""
  trials = [
    {'number': number, 'state': 'complete', 'val_accuracy': accuracy, 'param.stage': stage}
    for number, (accuracy, stage) in enumerate([(0.9, 0), (0.6, 1), (0.7, 1), (0.65, 1)])
  ]
  for kind, tile, line in (
    ('evolve', '70.00 %best val accuracy, trial 2, of the last stage', [None, 0.6, 0.7, 0.7]),
    ('search', '90.00 %best val accuracy, trial 0', [0.9] * 4),
  ):
    shown_runs.write_study(tmp_path / kind / 's', trials, kind)
    with serving(tmp_path / kind) as address, Driver(1200, False) as page:
      page.open(address)
      page.wait('known && known.studies.size === 1')
      page.run('page.set({view: "studies"})')
      page.wait('document.querySelector("#studies-view .tiles .card")')
      assert page.run('document.querySelector("#studies-view .tiles .card").textContent') == tile
      assert page.run('[...studyView.plot.data[2]]') == line
      assert page.run('document.querySelectorAll("#studies-view tbody tr").length') == 4


def test_a_study_is_chosen_and_its_trials_lead_to_their_runs(tmp_path) -> None:
  for name in ('r', 's'):
    values = {'val_accuracy': 0.5, 'seconds': 3.5}
    trials = [{'number': number, 'state': 'complete', **values} for number in (0, 1)]
    study = shown_runs.write_study(tmp_path / name, trials)
    about = json.loads((study / 'study.json').read_text())
    about['objectives'] = ['val_accuracy', 'seconds']
    (study / 'study.json').write_text(json.dumps(about))
    run = shown_runs.write_run(study / 'trials' / '00001' / 'seed_0', 3)
  rows = 'document.querySelectorAll("#studies-view tbody tr")'
  with serving(tmp_path) as address, Driver(1200, False) as page:
    page.open(address + '#view=studies')
    page.wait(f'{rows}.length === 2')
    for label, value in (('objective', 'seconds'), ('study', watch.id_of(study))):
      control = f'document.querySelector("[data-key=\'select:{label}\']")'
      page.run(f'{control}.focus()')
      page.run(f'{control}.value = "{value}"')
      page.run(f'{control}.dispatchEvent(new Event("change"))')
      page.wait(f'location.hash.includes("{label}={value}")')
      assert page.run(f'document.activeElement === {control}')
      assert page.run(f'{control}.value') == value
    page.run(f'{rows}[0].click()')
    assert page.run('find("detail").hidden')  # there is no run of it
    page.run(f'{rows}[1].click()')
    page.wait('!find("detail").hidden')
    assert page.run('choices.run') == watch.id_of(run)


def test_objectives_are_drawn_against_each_other(tmp_path) -> None:
  """A line joins those that none beats in both: less time, or more accuracy."""
  study = shown_runs.write_study(tmp_path / 's', [])
  values = [(0.6, 30, 7), (0.5, 10, 7), (0.7, 20, 9), (0.55, 20, 8)]
  names = ('val_accuracy', 'seconds', 'parameters')
  rows = [
    {'number': number, 'state': 'complete', **dict(zip(names, each, strict=True))}
    for number, each in enumerate(values)
  ]
  table.write_table(study, rows, names)
  about = json.loads((study / 'study.json').read_text())
  (study / 'study.json').write_text(json.dumps({**about, 'objectives': names}))
  drawn = 'studyView.frontPlot.data.map(each => [...each])'
  with serving(tmp_path) as address, Driver(375, True) as page:
    page.open(address + '#view=studies')
    page.wait('studyView.frontPlot')
    found = page.run(drawn)
    assert found == [[10, 20, 20, 30], [None, None, 0.55, 0.6], [0.5, 0.7, None, None]]
    page.run('page.set({against: "parameters"})')
    found = page.run(drawn)
    assert found == [[7, 7, 8, 9], [None, 0.5, 0.55, None], [0.6, None, None, 0.7]]
    page.run('studyView.frontPlot.setCursor({left: 0, top: 0})')
    tip = 'document.querySelector("#studies-view .tip:not([hidden])").textContent'
    assert page.run(tip) == 'trial 0: val accuracy 60.00 %, parameters 7'
    assert page.run('document.documentElement.scrollWidth') <= 375


def test_long_names_are_whole_on_a_phone(tmp_path) -> None:
  for trial in ('00000', '00001'):
    shown_runs.write_run(tmp_path / 'cnn_simple_study' / 'trials' / trial / 'seed_0', 1)
  ends = '(each => each.getBoundingClientRect().right)'
  names = f'[...{ROWS}].map(row => row.querySelector(".name"))'
  with serving(tmp_path) as address, Driver(375, False) as page:
    page.open(address)
    page.wait(f'{ROWS}.length === 2')
    assert page.run(f'{names}.every(name => {ends}(name) <= {ends}(name.closest("td")))')
    assert page.run(f'{names}.every(name => name.scrollWidth <= name.clientWidth)')


def test_many_runs_are_drawn_within_two_seconds(tmp_path) -> None:
  """From the request to the table and the curves, 200 runs of 100 epochs."""
  for number in range(200):
    run = shown_runs.write_run(tmp_path / f'run_{number}', 100, epochs=100 + number % 2)
  with serving(tmp_path) as address, Driver(1200, False) as page:
    page.open(address)  # reads the folders
    page.wait(f'{ROWS}.length === 200')
    page.open('about:blank')
    page.open(address)
    page.wait('performance.getEntriesByName("drawn").length')
    assert page.run(f'{ROWS}.length') == 200
    assert page.run('plot.plot.data.length') == 1 + 2 * 30
    assert page.run('performance.getEntriesByName("drawn")[0].startTime') < 2000
    shown_runs.add_row(run, 101)
    page.wait(f'{STATES}.filter(state => state === "stopped").length === 100')


def test_thirty_runs_have_colors_of_their_own(runs) -> None:
  with serving(runs) as address, Driver(1200, False) as page:
    page.open(address)
    page.wait(f'{ROWS}.length === 5')
    assert page.run('new Set(Array.from({length: 30}, (_, index) => colorOf(index))).size') == 30
