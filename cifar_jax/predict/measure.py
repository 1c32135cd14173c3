"""A checkpoint measured on any set of labeled images: the run's network, other data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from cifar_jax import data
from cifar_jax.analysis import scores
from cifar_jax.analysis.soft_labels import BINS, against_people
from cifar_jax.data import test_sets
from cifar_jax.data.dataset import Examples, Split
from cifar_jax.data.matching import Matching
from cifar_jax.predict import any_set
from cifar_jax.predict.any_set import Request, as_inputs, check_test_set, open_set
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

_LEAST_AGREEMENT = 0.5  # of people's most frequent label with the official one; it is above 0.99


@dataclasses.dataclass(frozen=True)
class Measured:
  """What was measured, for programs and for people.

  Attributes:
    facts: The content of a JSON object.
    rows: The rows of a table, all with the same columns.
    lines: What is printed.
    own_test: Whether the test images of the run itself were looked at, corrupted or not.
  """

  facts: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]
  lines: Sequence[str]
  own_test: bool = False


def measure(network: Classifier, request: Request, data_dir: str | None = None) -> Measured:
  """Measures a network on a set.

  Args:
    network: The network of a run.
    request: The set.
    data_dir: Where the images of CIFAR-10H are, CIFAR-10's test images, if not where the run had
      them.

  Raises:
    UserError: there is no such set, or it has classes that the run lacks.
  """
  config = request.config(network)
  if config.name in test_sets.CORRUPTED:
    return _on_corruptions(network, request, config)
  if config.name == test_sets.PEOPLE:
    return _against_people(network, request, config, data_dir)
  chosen = open_set(request, network)
  measured = _metrics(network, chosen.examples)
  facts = {**measured, **chosen.facts(), 'step': network.step}
  part = f'{chosen.split} images of {chosen.name}'
  lines = [
    f'{part}: loss {facts["loss"]:.4f}, accuracy {100 * facts["accuracy"]:.2f} %'
    f'{of_labels(facts)} ({facts["examples"]} examples, {chosen.remark}, checkpoint of step '
    f'{network.step})',
    f'data        {chosen.source}',
    f'classes     {chosen.classes_line}',
  ]
  return Measured(facts, [facts], lines, chosen.is_own_test)


def _metrics(network: Classifier, examples: Examples) -> dict[str, float]:
  """The metrics of the network's task."""
  if network.task.measure is not None:
    logits = network.logits_of_set(examples.images)
    return network.task.measure(logits, examples.labels, network.thresholds)
  return _scores(network.probabilities_of_set(examples.images), examples.labels)


def of_labels(measured: Mapping[str, Any]) -> str:
  """What a line says of several labels an image after the accuracy; '' where images have one."""
  if 'map' not in measured:
    return ''
  return (
    f', mean average precision {100 * measured["map"]:.2f} %, '
    f'F1 {100 * measured["macro_f1"]:.2f} % macro and {100 * measured["micro_f1"]:.2f} % micro'
  )


def _scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  return {
    'loss': scores.cross_entropy(probabilities, labels),
    'accuracy': float(np.mean(probabilities.argmax(1) == labels)),
  }


def _on_corruptions(network: Classifier, request: Request, config: ConfigDict) -> Measured:
  """CIFAR-10-C and CIFAR-100-C: a row for each corruption and severity."""
  check_test_set(request, network, config.name)
  found = test_sets.read_corrupted(config.name, config.dir)
  matching = request.match(found.class_names, network, str(found.source))
  rows: list[dict[str, Any]] = []
  total = len(found.corruptions) * test_sets.SEVERITIES
  # No bar where nobody looks at it.
  with tqdm(total=total, desc=config.name, unit='set', disable=None, leave=False) as bar:
    for corruption in found.corruptions:
      for severity, images in enumerate(found.images(corruption), 1):
        part, skipped = as_inputs(
          Split(images, found.labels), matching, network.preprocessing, str(found.source)
        )
        measured = _scores(network.probabilities_of_set(part.images), part.labels)
        rows.append({'corruption': corruption, 'severity': severity, **measured})
        bar.update()
  errors = {
    name: [1 - row['accuracy'] for row in rows if row['corruption'] == name]
    for name in found.corruptions
  }
  of_benchmark = [name for name in found.corruptions if name in test_sets.CORRUPTIONS]
  facts = {
    'data': config.name,
    'split': 'test',
    'source': str(found.source),
    'own_data': False,
    'classes_matched': matching.how,
    'examples': len(part),  # the same of each file
    'skipped': skipped,
    'step': network.step,
    'mean_error': _mean([errors[name] for name in of_benchmark]),
    'corruptions_in_mean': len(of_benchmark),
    'corruptions': {
      name: {'mean_error': _mean([errors[name]]), 'errors': errors[name]}
      for name in found.corruptions
    },
  }
  # The official test images, corrupted: nobody who chooses by them has the others left.
  own_test = config.name == f'{network.config.data.name}_c'
  return Measured(facts, rows, _corruption_lines(facts, matching), own_test)


def _mean(errors: Sequence[Sequence[float]]) -> float | None:
  return float(np.mean(errors)) if errors else None


def _corruption_lines(facts: Mapping[str, Any], matching: Matching) -> list[str]:
  """The table of errors in percent, corruption by severity, and their mean."""
  by_name: Mapping[str, Any] = facts['corruptions']
  width = max(map(len, (*by_name, 'error, %, at severity'))) + 1
  severities = ''.join(f'{severity:>8}' for severity in range(1, test_sets.SEVERITIES + 1))
  lines = [f'{"error, %, at severity":<{width}}{severities}{"mean":>8}']
  for name, found in by_name.items():
    mark = '' if name in test_sets.CORRUPTIONS else '*'
    cells = ''.join(f'{100 * error:8.2f}' for error in (*found['errors'], found['mean_error']))
    lines.append(f'{name + mark:<{width}}{cells}')
  if facts['mean_error'] is not None:
    count, every = facts['corruptions_in_mean'], len(test_sets.CORRUPTIONS)
    which = f'all {every}' if count == every else f'{count} of the {every}'
    lines.append(
      f'mean error {100 * facts["mean_error"]:.2f} % over {which} corruptions of the benchmark'
    )
  if any(name not in test_sets.CORRUPTIONS for name in by_name):
    lines.append('* is not in the mean')
  left_out = f' ({facts["skipped"]} images a severity)' if facts['skipped'] else ''
  return [
    *lines,
    f'data        {facts["data"]}, {facts["source"]}: {facts["examples"]} examples a severity, '
    f'{any_set.OTHER}, checkpoint of step {facts["step"]}',
    f'classes     {matching}{left_out}',
  ]


def _against_people(
  network: Classifier, request: Request, config: ConfigDict, data_dir: str | None
) -> Measured:
  """CIFAR-10H: the network against people, on the official test images."""
  check_test_set(request, network, config.name)
  found = test_sets.read_people(config.dir)
  matching = request.match(found.class_names, network, str(found.source))
  if matching.left_out:
    raise UserError(
      f'{found.source} has shares of people for {listed(found.class_names, 10)}, and the run lacks '
      f'{listed(matching.left_out, 10)}: they cannot be left out of shares'
    )
  images = _official_test_images(network, config, data_dir)
  count, people = len(images.test), len(found.shares)
  if count != people:
    raise UserError(
      f'{found.source} has shares for {people} images, and {images.source} has {count} test images'
    )
  agreement = float(np.mean(found.shares.argmax(1) == images.test.labels))
  if agreement < _LEAST_AGREEMENT:
    raise UserError(
      f'{found.source}: most people chose the label of {images.source} for {100 * agreement:.0f} % '
      'of the images alone; the two are not in the same, official order'
    )
  part, _ = as_inputs(images.test, matching, network.preprocessing, images.source)
  probabilities = network.probabilities_of_set(part.images)
  shares = found.shares @ np.eye(len(network.class_names))[matching.numbers]
  own = network.config.data.name == 'cifar10'
  facts = {
    **_scores(probabilities, part.labels),
    **against_people(probabilities, shares),
    'calibration_error': scores.calibration(probabilities, part.labels, BINS).error,
    'calibration_bins': BINS,
    'data': config.name,
    'split': 'test',
    'source': f'{found.source}, {images.source}',
    'own_data': own,
    'classes_matched': matching.how,
    'examples': count,
    'step': network.step,
  }
  return Measured(facts, [facts], _people_lines(facts, network, matching, images.source), own)


def _official_test_images(
  network: Classifier, config: ConfigDict, data_dir: str | None
) -> data.Dataset:
  """CIFAR-10: where --data_dir says, the run had it, beside the shares, or in the usual places."""
  own = network.config.data
  wanted = own.copy_and_resolve_references().unlock()
  wanted.update(name='cifar10', channels=0, pad_to=0)
  if data_dir is not None:
    places = [data_dir]
  else:
    places = [*([own.dir] if own.name == 'cifar10' and own.dir else []), config.dir, '']
  problem: UserError | None = None
  for place in places:
    wanted.dir = place
    try:
      return data.load(wanted)
    except UserError as error:
      problem = problem or error
  raise UserError(
    f'{test_sets.PEOPLE} has no images of its own, and those of CIFAR-10 cannot be read: '
    f'{str(problem).replace("--config.data.dir", "--data_dir")}; say by --data_dir where they are'
  )


def _people_lines(
  facts: Mapping[str, Any], network: Classifier, matching: Matching, images: str
) -> list[str]:
  whose = any_set.OTHER
  if facts['own_data']:
    whose = ', '.join(filter(None, ["the run's own test images", any_set.split_note_of(network)]))
  return [
    f'people of {facts["data"]} ({facts["examples"]} examples, {whose}, '
    f'checkpoint of step {network.step})',
    f'cross-entropy with people    {facts["cross_entropy"]:.4f} = {facts["people_entropy"]:.4f}, '
    f"people's own entropy, the least possible, + {facts['kl_divergence']:.4f}, KL divergence",
    f'accuracy against people      {100 * facts["people_accuracy"]:.2f} %, by the label that most '
    f'people chose; {100 * facts["person_agreement"]:.2f} % against one person drawn at random',
    f'accuracy against the labels  {100 * facts["accuracy"]:.2f} %, loss {facts["loss"]:.4f}',
    f'calibration error            {100 * facts["people_calibration_error"]:.2f} % against people, '
    f'{100 * facts["calibration_error"]:.2f} % against the labels, in {facts["calibration_bins"]} '
    'bins of equal width',
    f'data        {facts["source"]}',
    f'classes     {matching}',
  ]
