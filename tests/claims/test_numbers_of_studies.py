"""What docs/trials says that searches and evolutions found is what their tables of trials say."""

import csv
import re
import statistics

import pytest
from scipy import stats

from tests.helpers import REPOSITORY

SEARCH = (REPOSITORY / 'docs' / 'trials' / 'search.md').read_text()
PROSE = ' '.join(SEARCH.split())
EVOLVE = (REPOSITORY / 'docs' / 'trials' / 'evolve.md').read_text()
PAGE = ' '.join(EVOLVE.split())
Row = dict[str, str]


def rows(name: str) -> list[Row]:
  with (REPOSITORY / 'results' / 'studies' / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def cells(start: str, page: str = SEARCH) -> list[str]:
  """The cells of the last line of a table in a page that starts so."""
  *_, line = re.findall(rf'^\| {re.escape(start)} \|.*$', page, re.MULTILINE)
  return [cell.strip() for cell in line.strip('|').split('|')]


def accuracies(trials: list[Row]) -> list[float]:
  """Those of the trials that were trained to their end, in percent."""
  return [100 * float(row['val_accuracy']) for row in trials if row['state'] == 'complete']


@pytest.mark.parametrize('sampler', ['tpe', 'random'])
def test_two_searches(sampler: str) -> None:
  trials = rows(f'search_{sampler}')
  assert cells(f'`{sampler}`')[1:] == [
    str(len(trials)),
    str(sum(row['state'] == 'pruned' for row in trials)),
    str(sum(int(row['epochs']) for row in trials)),
    f'{sum(float(row["seconds"]) for row in trials) / 60:.1f}',
    f'{max(accuracies(trials)):.2f} %',
  ]
  assert f'reach {accuracies(trials)[0]:.2f} %' in PROSE


def test_what_held_tpe_back() -> None:
  first, later = rows('search_tpe')[:10], rows('search_tpe')[10:]
  with_layer = [row for row in first if row['param.head'] == 'dense']
  assert len(with_layer) == 7
  assert 'the seven networks with a hidden layer were pruned after one epoch' in PROSE
  assert all((row['state'], row['epochs']) == ('pruned', '1') for row in with_layer)
  without = sum(row['param.head'] == 'none' for row in later)
  assert f'in {without} of {len(later)} trials' in PROSE
  complete = [row for row in rows('search_random') if row['state'] == 'complete']
  best = sorted(complete, key=lambda row: -float(row['val_accuracy']))
  assert [row['param.head'] for row in best[:2]] == ['dense', 'dense']


def in_full(trials: list[Row]) -> list[Row]:
  """The trials of the last stage, the best first."""
  return sorted(
    (row for row in trials if row['param.stage'] == '1'),
    key=lambda row: -float(row['val_accuracy']),
  )


@pytest.mark.parametrize(
  ('name', 'start'), [('evolve', 'evolution'), ('evolve_random', 'control, by `--random`')]
)
def test_two_evolutions(name: str, start: str) -> None:
  trials = rows(name)
  assert {row['state'] for row in trials} == {'complete'}
  assert cells(start, EVOLVE)[1:] == [
    str(len(trials)),
    str(sum(int(row['epochs']) for row in trials)),
    f'{sum(float(row["seconds"]) for row in trials) / 60:.0f}',
    f'{100 * float(in_full(trials)[0]["val_accuracy"]):.2f} %',
  ]


def test_what_the_evolutions_found() -> None:
  evolved, drawn = rows('evolve'), rows('evolve_random')
  first = evolved[0]
  best = in_full(drawn)[0]  # the given network itself, trained for longer
  assert (best['param.origin'], best['param.parents']) == ('promoted', first['number'])
  count, early = 0, []
  for row in evolved:
    count += int(row['epochs'])
    early += [row] if count <= 95 else []
  (leader, *_) = in_full(early)
  assert leader['param.macs'] == first['param.macs']
  assert leader['param.origin'] == 'promoted'
  assert f'The evolution had {100 * float(leader["val_accuracy"]):.2f} % after 95 epochs' in PAGE
  best = in_full(evolved)[0]
  assert best['param.generation'] == '5'
  assert f'{int(best["param.parameters"]):,} parameters in place of 42,442' in PAGE
  assert (first['param.parameters'], best['param.activation']) == ('42442', 'silu')
  for row, text in ((best, '3.2 million multiply-adds'), (first, '3.9 million')):
    assert f'{int(row["param.macs"]) / 1e6:.1f}' in text
    assert text in PAGE


def test_the_best_of_the_evolution_on_the_test_set() -> None:
  found = {
    name: [100 * float(row['test_accuracy']) for row in rows('finals') if row['config'] == name]
    for name in ('evolve', 'evolve_baseline')
  }
  starts = {'evolve': 'best of the evolution', 'evolve_baseline': 'the article, `cnn_simple`'}
  for name, values in found.items():
    assert len(values) == 3
    written = f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %'
    assert cells(starts[name], EVOLVE)[1] == written
  difference = statistics.mean(found['evolve']) - statistics.mean(found['evolve_baseline'])
  p = stats.ttest_rel(found['evolve'], found['evolve_baseline']).pvalue
  assert cells(starts['evolve'], EVOLVE)[2] == f'+{difference:.2f} points, {p:.4f}'


def test_on_the_test_set() -> None:
  found = {
    name: {
      int(row['seed']): 100 * float(row['test_accuracy'])
      for row in rows('finals')
      if row['config'] == name
    }
    for name in ('baseline', 'tpe', 'random')
  }
  for name, values in found.items():
    assert sorted(values) == [1, 2, 3, 4, 5]
    several = list(values.values())
    written = f'{statistics.mean(several):.2f} ± {statistics.stdev(several):.2f} %'
    start = 'the article, `cnn_simple`' if name == 'baseline' else f'best of `{name}`'
    assert cells(start)[1] == written
    if name != 'baseline':
      p = stats.ttest_rel(several, list(found['baseline'].values())).pvalue
      assert cells(start)[2] == (f'{p:.4f}' if p >= 1e-4 else 'below 0.0001')
