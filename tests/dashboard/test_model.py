"""What the page computes by itself, against Python's own: model.js in Node."""

import json
import math
import random
import shutil
import statistics
import subprocess

import pytest

from cifar_jax.dashboard import watch
from cifar_jax.report import leaderboard
from cifar_jax.run_dir.progress import duration
from cifar_jax.trials.statistics import summarize
from tests.helpers import REPOSITORY

NODE = shutil.which('node')
pytestmark = pytest.mark.skipif(NODE is None, reason='there is no Node')
MODEL = REPOSITORY / 'cifar_jax' / 'dashboard' / 'page' / 'model.js'

RUNS = [
  {
    **{'id': 'a', 'name': 'lr_1/seed_0', 'state': 'finished', 'data': 'cifar10', 'system': 'x'},
    **{'path': 'runs/lr_1/seed_0', 'study': None, 'options': {'batch_size': 64}},
    'row': {'val_accuracy': 0.7, 'seed': 0, 'tags': 'cnn adv', 'seconds': 10},
  },
  {
    **{'id': 'b', 'name': 'lr_1/seed_1', 'state': 'finished', 'data': 'cifar10', 'system': 'x'},
    **{'path': 'runs/lr_1/seed_1', 'study': None, 'options': {'batch_size': 64}},
    'row': {'val_accuracy': 0.74, 'seed': 1, 'tags': 'cnn', 'seconds': 12},
  },
  {
    **{'id': 'c', 'name': 'lr_1/seed_2', 'state': 'training', 'data': 'cifar10', 'system': 'x'},
    **{'path': 'runs/lr_1/seed_2', 'study': None, 'options': {'batch_size': 64}},
    'row': {'val_accuracy': 0.1, 'seed': 2, 'tags': 'cnn', 'seconds': 2},
  },
  {
    **{'id': 'd', 'name': 'other', 'state': 'stopped', 'data': 'cifar10', 'system': 'y'},
    **{'path': 'runs/other', 'study': 's', 'options': {'augment.flip': None}},
    'row': {'val_accuracy': 0.9, 'seed': 0, 'tags': '', 'seconds': 9},
  },
  {
    **{'id': 'e', 'name': 'fashion', 'state': 'finished', 'data': 'mnist', 'system': 'x'},
    **{'path': 'runs/fashion', 'study': None, 'options': {}},
    'row': {'val_accuracy': 0.95, 'seed': 0, 'tags': ''},
  },
  {'id': 'f', 'name': 'broken', 'state': 'damaged', 'path': 'runs/broken', 'data': '', 'row': {}},
]
DEFAULTS = {'batch_size': 128, 'augment.flip': 'none'}


def model(script: str):
  """What an expression with the names of model.js, and `runs`, `defaults`, `t`, gives."""
  assert NODE
  constants = watch.constants()
  data = {'runs': RUNS, 'defaults': DEFAULTS, 't': constants['t'], 'columns': constants['columns']}
  code = f"""
    const data = JSON.parse(require('fs').readFileSync(0, 'utf8'));
    Object.assign(globalThis, require({json.dumps(str(MODEL))}));
    const {{runs, defaults, t, columns}} = data, known = {{defaults, columns, neutral: []}};
    const value = (run, column) => valueOf(run, column, defaults);
    console.log(JSON.stringify({script}));
  """
  done = subprocess.run(
    [NODE, '-e', code], input=json.dumps(data), capture_output=True, text=True, timeout=60
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_filters_order_groups_and_columns() -> None:
  filters = {
    'cnn': 'abc',
    'CNN state=finished': 'ab',
    'tags=adv': 'a',
    'tags!=adv': 'bcdef',
    'val_accuracy>70%': 'bde',
    'accuracy>=0.7': 'abde',
    'val_accuracy<0.5 seed=2': 'c',
    'batch_size=128': 'de',
    'batch_size!=128': 'abcf',
    'state=damaged': 'f',
    '"other"': 'd',
    'name>1': '',
    'val_accuracy=': '',
    '': 'abcdef',
  }
  order = "ordered(runs, {}, value).map(run => run.id).join('')"
  found = model(f"""[
    {json.dumps(list(filters))}.map(text => runs.filter(run =>
      passes(run, parseFilter(text), defaults)).map(run => run.id).join('')),
    {order.format('"-val_accuracy"')}, {order.format('"val_accuracy"')}, {order.format('"run"')},
    grouped(runs, 'seeds', defaults, new Map()).map(each => [each.label, each.runs.length]),
    grouped(runs, 'batch_size', defaults, new Map()).map(each => [each.key, each.runs.length]),
    differing(runs, defaults),
    columnsOf(runs, {{...DEFAULTS, columns: 'seed,val_accuracy'}}, known).shown,
    columnsOf(runs, DEFAULTS, known).shown,
    columnsOf(runs, DEFAULTS, {{...known, neutral: ['batch_size']}}).shown,
  ]""")
  expected_filters, best, worst, by_name, seeds, batches, options, chosen, usual, fewer = found
  assert dict(zip(filters, expected_filters, strict=True)) == filters
  # Runs on different data do not mix; what is not known comes last.
  assert (best, worst, by_name) == ('dbacef', 'cabdef', 'abcdef')
  assert seeds == [['lr_1', 2], ['lr_1/seed_2', 1], ['other', 1], ['fashion', 1], ['broken', 1]]
  assert batches == [['64', 3], ['128', 2], ['none', 1]]
  assert options == ['augment.flip', 'batch_size']
  assert chosen == ['run', 'seed', 'val_accuracy']
  assert usual == [
    *('run', 'state', 'data', 'val_accuracy', 'seconds', 'seed', 'augment.flip', 'batch_size'),
    'tags',
  ]
  assert fewer == [column for column in usual if column != 'batch_size']


def test_numbers_are_those_of_python() -> None:
  samples = [[0.7, 0.74, 0.71], [1.0, 2.0], [3.0], [0.5] * 4, [*range(120)]]
  seconds = [0.4, 47, 59.4, 59.6, 200, 3599.4, 3599.6, 7500]
  cells = [('val_accuracy', 0.12345), ('val_loss', 1.23456), ('parameters', 411146), ('seed', 1234)]
  cells += [('test_map', 0.7312)]
  found = model(f"""[
    {json.dumps(samples)}.map(values => summarize([...values, null, NaN], t)),
    {json.dumps(seconds)}.map(duration),
    {json.dumps(cells)}.map(([name, value]) => cellText(name, value)),
    summaryText('val_accuracy', [0.7, 0.74, 0.71], t),
    summaryText('val_accuracy', [0.7, null, 0.74, 0.71], t).text,
    summaryText('val_accuracy', [null, 0.7], t).text, summaryText('tags', ['x', 'x'], t).text,
    bestSoFar([null, 0.5, 0.4, null, 0.6], true), bestSoFar([null, 0.5, 0.4, null, 0.6], false),
    endsAt({{state: 'training', pace: 2, updated: 100, total: 5, curves: {{epoch: [1, 2]}}}}),
    endsAt({{state: 'stopped', pace: 2, updated: 100, total: 5, curves: {{epoch: [1, 2]}}}}),
    summarize([], t),
  ]""")
  sums, times, texts, group, of_three, of_one, same, rising, falling, ends, never, none = found
  for values, ours in zip(samples, sums, strict=True):
    expected = summarize(values)
    assert ours['n'] == expected.n == len(values)
    assert ours['mean'] == pytest.approx(statistics.mean(values))
    if len(values) == 1:
      assert ours['sd'] is None
      assert ours['half'] is None
      assert math.isnan(expected.sd)
      continue
    assert ours['sd'] == pytest.approx(statistics.stdev(values), abs=1e-15)
    assert ours['half'] == pytest.approx((expected.high - expected.low) / 2, rel=1e-4)
  assert times == [duration(each) for each in seconds]
  assert texts == [leaderboard.cell(name, value) for name, value in cells]
  assert group['text'] == '71.67 ± 2.08 %'
  # Student's 97.5 % quantile with two degrees of freedom is 4.3027.
  assert group['title'].endswith('66.50 to 76.84 %')
  assert (of_three, of_one, same) == ('71.67 ± 2.08 % (n 3)', '70.00 % (n 1)', 'x')
  assert rising == [None, 0.5, 0.5, 0.5, 0.6]
  assert falling == [None, 0.5, 0.4, 0.4, 0.4]
  assert (ends, never, none) == (106, None, None)


def test_a_seed_counts_once_however_runs_are_sorted() -> None:
  """Of a final and the one before it, the first by path is in the group; the other stands alone."""
  best_first, worst_first = model("""(() => {
    const both = [{...runs[1], id: 'z', path: 'runs/lr_2/seed_1'}, ...runs.slice(0, 2)];
    const told = list => grouped(list, 'seeds', defaults, new Map()).map(
      each => each.runs.map(run => run.id).sort().join('')).sort();
    return [told(both), told([...both].reverse())];
  })()""")
  assert best_first == worst_first == ['ab', 'z']


def test_a_group_of_seeds_has_what_its_names_have_in_common() -> None:
  names = {
    'lr/seed_0 lr/seed_1': 'lr',
    'run_056 run_057': 'run',
    's/trials/00012 s/trials/00015': 's/trials',
    'a a_2': 'a',
    'x y': 'x',
    'alone': 'alone',
  }
  lists = json.dumps([each.split() for each in names])
  assert model(f'{lists}.map(commonName)') == list(names.values())


def test_the_address_keeps_what_was_chosen() -> None:
  hash_, back, empty, foreign = model("""[
    formatChoices({...DEFAULTS, filter: 'a&b=c #"x', sort: 'seconds', columns: 'run,a.b'}),
    parseChoices(formatChoices({...DEFAULTS, filter: 'a&b=c #"x', draw: 'a.b'})),
    formatChoices(DEFAULTS), parseChoices('#evil=1&sort=-x&__proto__=y')]""")
  assert 'sort=seconds' in hash_
  assert back['filter'] == 'a&b=c #"x'
  assert back['draw'] == 'a.b'
  assert empty == '#'
  assert foreign['sort'] == '-x'
  assert 'evil' not in foreign


def test_the_trial_of_a_run_is_told_by_its_folder() -> None:
  paths = {
    'runs/s/trials/00012/seed_0': 12,
    'C:\\runs\\s\\trials\\00003\\seed_1': 3,
    '/data/trials/00007/s/trials/123456': 123456,
    's/final/best/seed_0': None,
    's/trials/other': None,
    's/my_trials/00001': None,
  }
  assert model(f'{json.dumps(list(paths))}.map(trialOf)') == list(paths.values())


def test_a_trial_whose_runs_all_stopped_does_not_run() -> None:
  """The table of a study whose command was killed still says so."""
  cases = [
    ('running', [], 'running'),  # it has made no folder yet
    ('running', ['training'], 'running'),
    ('running', ['finished'], 'running'),  # the next seed is on its way
    ('running', ['finished', 'stopped'], 'stopped'),
    ('running', ['stopped', 'training'], 'running'),
    ('pruned', ['stopped'], 'pruned'),
  ]
  given = [[told, [{'state': state} for state in states]] for told, states, _ in cases]
  found = model(f'{json.dumps(given)}.map(each => stateOfTrial(...each))')
  assert found == [expected for *_, expected in cases]


def test_stages_of_an_evolution_are_not_compared() -> None:
  """The best of the page of the study, too, is that of the last stage that has any."""
  trials = [
    {'number': 0, 'state': 'complete', 'param.stage': 0},
    {'number': 1, 'state': 'complete', 'param.stage': 1},
    {'number': 2, 'state': 'failed', 'param.stage': 2},
    {'number': 3, 'state': 'complete'},
  ]
  evolved, searched, none = model(f"""['evolve', 'search', ''].map((kind, index) =>
    comparable({{kind}}, index === 2 ? [] : {json.dumps(trials)}).map(trial => trial.number))""")
  assert (evolved, searched, none) == ([1], [0, 1, 3], [])


def test_what_was_told_is_taken_in() -> None:
  (ids, studies, version, kept) = model("""(() => {
    const first = absorb({}, {all: true, runs: runs.slice(0, 2), studies: [{id: 's'}], gone: [],
      version: 'x.1', now: 1, missing: [], defaults, columns, t, folders: ['runs']});
    const next = absorb(first, {all: false, runs: [{...runs[0], name: 'new'}, runs[2]],
      studies: [], gone: ['b', 's'], version: 'x.2', now: 2, missing: []});
    return [[...next.runs.values()].map(run => [run.id, run.name]), next.studies.size, next.version,
      next.folders];
  })()""")
  assert ids == [['a', 'new'], ['c', 'lr_1/seed_2']]
  assert (studies, version, kept) == (0, 'x.2', ['runs'])


@pytest.mark.parametrize('highest', [(True, True), (False, True), (False, False)])
def test_the_front_is_what_no_other_pair_beats(highest) -> None:
  """By the definition, pair by pair; equal pairs beat neither each other nor themselves."""
  numbers = random.Random(0)
  pairs = 2 * [(numbers.randrange(12), numbers.randrange(12)) for _ in range(20)]

  def beats(one, other):
    at_least = [a == b or (a > b) == high for a, b, high in zip(one, other, highest, strict=True)]
    return all(at_least) and one != other

  expected = [not any(beats(other, pair) for other in pairs) for pair in pairs]
  assert 2 < sum(expected) < len(pairs)
  assert model(f'frontOf({json.dumps(pairs)}, {json.dumps(highest)})') == expected
