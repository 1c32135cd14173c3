"""What a person sees while a study goes on."""

import types

from cifar_jax.run_dir.progress import duration
from cifar_jax.search import show
from cifar_jax.search.budget import Budget


def test_of_several_objectives_none_beats_the_best(open_fake) -> None:
  opened = open_fake(objectives=('val_accuracy', 'seconds'))
  values = [(0.5, 10), (0.6, 20), (0.55, 30), (0.7, 40), (0.7, 41), (0.5, 10)]
  for pair in values:
    opened.study.tell(opened.study.ask(), pair)
  assert [t.number for t in show.best_trials(opened, opened.trials())] == [3, 1, 0, 5]


def test_each_trial_is_told_once_and_the_bar_tells_the_time_left(
  open_fake, work, capsys, monkeypatch
) -> None:
  clock = types.SimpleNamespace(monotonic=lambda: 1000.0)
  monkeypatch.setattr(show, 'time', clock)
  opened, budget, shown = open_fake(), Budget(4), show.Show(bar=True)
  work(opened, trials=1)
  shown.update_now(opened, budget)  # what was there before is no news, and took no time
  work(opened, trials=2)
  clock.monotonic = lambda: 1060.0  # a minute, for a quarter of the budget
  shown.update_now(opened, budget)
  shown.update_now(opened, budget)
  shown.close()
  said = capsys.readouterr()
  assert [line[:20] for line in said.out.splitlines()] == ['trial    1  complete']
  assert ' 50% of the budget' in said.err
  assert f'2 trials, {show.best_words(opened, opened.trials())}, {duration(120)} left' in said.err
