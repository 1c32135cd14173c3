"""The proof that an export is the network: what it gives in the other software, beside ours."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from cifar_jax.data import Examples
from cifar_jax.exchange.exported import in_float32, inputs_of, outputs_here
from cifar_jax.exchange.targets import TARGETS, Options, Predict
from cifar_jax.predict.classifier import Classifier, batch_size
from cifar_jax.utils.errors import UserError

COMPARED = 1000  # images whose outputs are compared
BATCH = 128
_TIMED_CALLS, _TIMED_SECONDS = 30, 1.0  # of a latency, whichever comes first
_FEWEST_CALLS = 5


@dataclasses.dataclass(frozen=True)
class Parity:
  """How an export compares with the network that it was made of.

  Both compute in float32, on one view of each image; `as_trained` is about the network as the run
  computes, where that is in another dtype.

  Attributes:
    images: What was compared: 'test images' or 'random pictures', say.
    compared: Their number.
    largest_difference: The largest absolute difference of an output.
    largest_output: The largest absolute value of an output of ours.
    allowed: The largest difference with which the two count as equal.
    equal_classes: The share of images with the same class.
    judged: The number of labelled images behind the accuracies, 0 where there are none.
    accuracy_there: The accuracy in the other software, in 0..1, or None.
    accuracy_here: That of the network as the run computes, or None.
    as_trained: {'dtype', 'largest_difference', 'equal_classes'} to the network as the run
      computes, or None.
    latency: Medians in milliseconds, of one image and of a batch: {'1': {'there', 'here'}, ...}.
    bytes: The size of all files of the export.
    versions: Those of the packages on both sides.
  """

  target: str
  images: str
  compared: int
  largest_difference: float
  largest_output: float
  allowed: float
  equal_classes: float
  judged: int
  accuracy_there: float | None
  accuracy_here: float | None
  as_trained: Mapping[str, Any] | None
  latency: Mapping[str, Mapping[str, float]]
  bytes: int
  versions: Mapping[str, str]

  @property
  def holds(self) -> bool:
    """Whether the export is the network; not where there is a NaN in either."""
    return bool(self.largest_difference <= self.allowed)

  def lines(self) -> list[str]:
    """The report for people."""
    said = 'equal' if self.holds else 'DIFFERENT'
    found = [
      f'parity      {said}: largest difference {self.largest_difference:.3g} of outputs up to '
      f'{self.largest_output:.3g} (allowed: {self.allowed:.3g}), same class for '
      f'{100 * self.equal_classes:.2f} % of {self.compared:,} {self.images}'
    ]
    if self.as_trained is not None:
      found.append(
        f'trained in  {self.as_trained["dtype"]}, exported in float32: largest difference '
        f'{self.as_trained["largest_difference"]:.3g}, same class for '
        f'{100 * self.as_trained["equal_classes"]:.2f} %'
      )
    if self.accuracy_there is not None and self.accuracy_here is not None:
      found.append(
        f'accuracy    {100 * self.accuracy_there:.2f} % there, {100 * self.accuracy_here:.2f} % '
        f'here ({self.judged:,} images, one view of each)'
      )
    for size, times in self.latency.items():
      found.append(
        f'latency     batch of {size}: {times["there"]:.2f} ms there, {times["here"]:.2f} ms here'
      )
    found.append(f'size        {self.bytes:,} bytes')
    versions = ', '.join(f'{name} {version}' for name, version in self.versions.items())
    return [*found, f'versions    {versions}']


def measure(
  network: Classifier,
  predict: Predict,
  target: str,
  options: Options,
  examples: Examples | None,
  what: str,
  size: int,
  most: int | None = None,
) -> Parity:
  """Compares an export that was opened with the network as the run computes.

  Args:
    network: The network.
    predict: The export, as `TargetModule.open_exported` gives it.
    target: Its name in `targets.TARGETS`.
    options: What the export takes and gives.
    examples: Images with labels to judge both on; None: random pictures are compared.
    what: What these images are, in the plural.
    size: The bytes of the export.
    most: The number of labelled images used; None: all.

  Raises:
    UserError: The export does not give numbers [N, classes], float32.
  """
  entry = TARGETS[target]
  shape = network.image_shape
  if examples is None:
    images, labels = random_pictures(COMPARED, shape), None
  else:
    count = min(len(examples), most or len(examples))
    images, labels = examples.images[:count], np.asarray(examples.labels)[:count]
  compared = min(COMPARED, len(images))
  ours, as_trained = outputs_here(in_float32(network), options), None
  if in_float32(network) is not network:
    as_trained = outputs_here(network, options)
  here = ours if as_trained is None else as_trained
  checked = functools.partial(_there, predict, len(network.class_names))

  exact, own, there = [], [], []  # of the compared images, and of all
  for batch in _batches(images, batch_of(shape), f'parity of {target}'):
    if sum(map(len, exact)) < compared:
      exact.append(_at_most(ours, batch))
    own.append(_at_most(here, batch))
    there.append(_at_most(checked, inputs_of(network, options, batch)))
  found, expected = np.concatenate(there), np.concatenate(exact)[:compared]
  trained = np.concatenate(own)
  largest = float(np.abs(expected).max())
  one = np.asarray(images[:1])
  many = np.resize(np.asarray(images[: batch_of(shape)]), (batch_of(shape), *shape))
  return Parity(
    target=target,
    images=what,
    compared=compared,
    largest_difference=_difference(found[:compared], expected),
    largest_output=largest,
    allowed=entry.tolerance * max(1.0, largest),
    equal_classes=_equal(found[:compared], expected),
    judged=0 if labels is None else len(labels),
    accuracy_there=None if labels is None else float((found.argmax(1) == labels).mean()),
    accuracy_here=None if labels is None else float((trained.argmax(1) == labels).mean()),
    as_trained=None
    if as_trained is None
    else {
      'dtype': network.config.model.dtype,
      'largest_difference': _difference(found[:compared], trained[:compared]),
      'equal_classes': _equal(found[:compared], trained[:compared]),
    },
    latency={
      str(len(chosen)): {
        'there': _median_ms(predict, inputs_of(network, options, chosen)),
        'here': _median_ms(here, chosen),
      }
      for chosen in (one, many)
    },
    bytes=size,
    versions=entry.versions(),
  )


def batch_of(image_shape: tuple[int, int, int]) -> int:
  """Images (H, W, C) of a batch."""
  return min(BATCH, batch_size(image_shape))


def random_pictures(count: int, image_shape: tuple[int, int, int]) -> np.ndarray:
  """Images uint8 [count, H, W, C], each pixel by itself, of a fixed seed."""
  return np.random.default_rng(0).integers(0, 256, (count, *image_shape)).astype(np.uint8)


def _batches(images: Any, size: int, what: str) -> Iterator[np.ndarray]:
  """Images uint8 [up to `size`, H, W, C], with a bar on a terminal."""
  with tqdm(total=len(images), desc=what, unit='image', disable=None, leave=False) as bar:
    for start in range(0, len(images), size):
      batch = np.asarray(images[start : start + size])
      yield batch
      bar.update(len(batch))


def _at_most(predict: Predict, batch: np.ndarray) -> np.ndarray:
  """Outputs of a batch filled up to a full one, so that one program serves all."""
  size = batch_of(batch.shape[1:])
  return predict(np.resize(batch, (size, *batch.shape[1:])))[: len(batch)]


def _there(predict: Predict, classes: int, images: np.ndarray) -> np.ndarray:
  outputs = np.asarray(predict(images))
  if outputs.shape != (len(images), classes) or outputs.dtype != np.float32:
    raise UserError(
      f'the export gives {outputs.dtype} of the shape {list(outputs.shape)} of {len(images)} '
      f'images, where float32 of the shape {[len(images), classes]} was expected'
    )
  return outputs


def _difference(one: np.ndarray, other: np.ndarray) -> float:
  """The largest absolute difference; NaN where one has a NaN."""
  return float(np.abs(one - other).max())


def _equal(one: np.ndarray, other: np.ndarray) -> float:
  return float((one.argmax(1) == other.argmax(1)).mean())


def _median_ms(predict: Callable[[np.ndarray], Any], images: np.ndarray) -> float:
  """The median time of a call in milliseconds; the first, in which much is compiled, is not
  counted.
  """
  predict(images)
  times: list[float] = []
  while len(times) < _FEWEST_CALLS or (sum(times) < _TIMED_SECONDS and len(times) < _TIMED_CALLS):
    start = time.perf_counter()
    predict(images)
    times.append(time.perf_counter() - start)
  return round(1e3 * statistics.median(times), 3)
