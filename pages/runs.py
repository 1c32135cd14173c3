"""The pages on what a run writes, made from the tables beside the code that writes it."""

from collections.abc import Mapping

from cifar_jax.run_dir import meanings
from pages.text import table


def pages() -> dict[str, str]:
  """The text of each page by its path in docs/."""
  return {'metrics.md': metrics(), 'files.md': files()}


def metrics() -> str:
  """The page on columns and keys."""
  return (
    '# Metrics\n\nEvery column of `metrics.csv` and every key of `summary.json` and `about.json`. '
    'Losses are in nats, accuracies are shares from 0 to 1.\n\n'
    '## metrics.csv\n\nA row per epoch.\n\n'
    + _table('column', meanings.METRICS)
    + '\nRuns on images with several labels have these as well. Accuracy is then the share of all '
    'decisions on labels, at probability 1/2, that are correct.\n\n'
    + _table('column', meanings.METRICS_OF_LABELS)
    + '\n## summary.json\n\nThe result of a finished run.\n\n'
    + _table('key', meanings.SUMMARY)
    + '\nOf runs on images with several labels:\n\n'
    + _table('key', meanings.SUMMARY_OF_LABELS)
    + '\n## about.json\n\nWhat is known before the first step.\n\n'
    + _table('key', {**meanings.ABOUT, **meanings.ABOUT_OF_LABELS})
  )


def files() -> str:
  """The page on the folder of a run."""
  return (
    '# Files of a run\n\nThe folder of a run (`--workdir`, by default `runs/` and the name of the '
    'config) belongs to one run; the same command on the same folder resumes it. A file is written '
    'under another name first and then renamed, so that a process killed at any moment leaves no '
    'partial file. [Metrics](metrics.md) explains the numbers in them.\n\n'
    + _table('file', meanings.FILES)
  )


def _table(head: str, rows: Mapping[str, str]) -> str:
  return table((head, 'meaning'), [(f'`{name}`', text) for name, text in rows.items()], '--')
