"""What docs/trials says that searches and evolutions found is what their tables of trials say."""

import csv
import re
import statistics

import pytest
from scipy import stats

from tests.helpers import REPOSITORY

SEARCH = (REPOSITORY / 'docs' / 'trials' / 'search.md').read_text()
PROSE = ' '.join(SEARCH.split())
EVOLVE = ' '.join((REPOSITORY / 'docs' / 'trials' / 'evolve.md').read_text().split())
Row = dict[str, str]


def rows(name: str) -> list[Row]:
  with (REPOSITORY / 'results' / 'studies' / f'{name}.csv').open(newline='') as file:
    return list(csv.DictReader(file))


def cells(start: str) -> list[str]:
  """The cells of the last line of a table that starts so."""
  *_, line = re.findall(rf'^\| {re.escape(start)} \|.*$', SEARCH, re.MULTILINE)
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


def test_two_evolutions() -> None:
  evolved, drawn = rows('evolve'), rows('evolve_random')
  last = [
    sorted(
      (row for row in trials if row['state'] == 'complete' and row['param.stage'] == '2'),
      key=lambda row: -float(row['val_accuracy']),
    )
    for trials in (evolved, drawn)
  ]
  assert [len(trials) for trials in last] == [18, 10]
  assert 'Eighteen and ten networks' in EVOLVE
  for trials in last:  # the article's own network and optimizer
    best = trials[0]
    assert (best['param.parameters'], best['param.learning_rate']) == ('42442', '0.001')
    assert f'with {100 * float(best["val_accuracy"]):.2f} % on the validation images' in EVOLVE
  for trials, text in zip(last, ('(67.52 %)', '(66.44 %)'), strict=True):
    assert f'({100 * float(trials[1]["val_accuracy"]):.2f} %)' == text
    assert text in EVOLVE
  for trials in (evolved, drawn):
    complete = sum(row['state'] == 'complete' for row in trials)
    assert f'which trained {complete}' in EVOLVE
    minutes = sum(float(row['seconds']) for row in trials) / 60
    assert f'stopped after {minutes:.0f} minutes of work each' in EVOLVE


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
