"""A launch.py that only leaves what a run leaves, and a queue of items for it."""

import pathlib

from benchmarks import command_line, tables

# Seeds that do something else than to finish.
FAILS, WAITS, STUBBORN, MEETS = 66, 77, 88, 100
LAUNCH = f"""
import json, os, pathlib, signal, sys, time
words = dict(word.split('=', 1) for word in sys.argv[1:])
run, seed = pathlib.Path(words['--workdir']), int(words['--config.seed'])
run.mkdir(exist_ok=True)
fraction = os.environ.get('XLA_CLIENT_MEM_FRACTION', '')
with (run.parent / 'started').open('a') as file:
  file.write(f'{{run.name}} {{fraction}}\\n')
if seed == {FAILS}:
  sys.exit('error: there are no data\\n  looked for in /nowhere')
def note(sign):
  with (run.parent / 'events').open('a') as file:
    file.write(f'{{sign}}\\n')
note(1)
others = run.parent / 'others'
if seed >= {MEETS}:
  others.mkdir(exist_ok=True)
  (others / run.name).touch()
  end = time.monotonic() + 60
  while len(list(others.iterdir())) < 2:
    assert time.monotonic() < end
    time.sleep(0.01)
saved = run / 'saved'
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
(run / 'metrics.csv').write_text('step,epoch,val_accuracy\\n9,3,0.5\\n')
if seed == {STUBBORN} or seed == {WAITS} and not saved.exists():
  (run / 'ready').write_text(str(os.getpid()))
  while not asked or seed == {STUBBORN}:
    time.sleep(0.01)
  saved.touch()
  sys.exit()
time.sleep(0.05)
note(-1)
summary = dict(test_loss=1.0, test_accuracy=0.5, split_note='', epochs=9, max_steps=0, steps=9,
  seconds=60.0, images_per_second=None, seed=seed, val_accuracy=0.75,
  command=' '.join(['launch.py', *sys.argv[1:]]))
(run / 'summary.json').write_text(json.dumps(summary))
"""
ITEM = """
[{name}]
config = '{config}'
overrides = {overrides}
seeds = {seeds}
hardware = '{hardware}'
minutes = {minutes}
value = {value}
why = '37 %'
"""


def item(name: str, **values) -> str:
  usual = {'config': 'lr', 'overrides': [], 'seeds': [0], 'hardware': 'any', 'minutes': 1}
  return ITEM.format(**{'name': name, 'value': 1, **usual, **values})


def go(here: pathlib.Path, queued: list[str], *words: str) -> None:
  """Calls the command with a queue of these items, on a machine without a GPU."""
  (here / 'queue.toml').write_text(''.join(queued))
  places = [f'--runs={here}/runs', f'--results={here}/results']
  command_line.main(['queue', '--hardware=cpu', *places, *words])


def started(here: pathlib.Path) -> list[str]:
  """The names of the runs that were started, in order."""
  path = here / 'runs' / 'started'
  return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def kept(here: pathlib.Path) -> list[str]:
  return [row['run'] for row in tables.read(here / 'results' / 'runs.csv')]
