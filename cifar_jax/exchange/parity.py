"""The proof that an export is the network: what it gives in the other software, beside ours."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from cifar_jax.data import Examples
from cifar_jax.exchange.exported import in_float32, inputs_of, outputs_here
from cifar_jax.exchange.targets import TARGETS, Options, Predict
from cifar_jax.predict.classifier import Classifier, batch_size
from cifar_jax.training import multi_label
from cifar_jax.utils.errors import UserError

COMPARED = 1000  # images whose outputs are compared
BATCH = 128
_TIMED_CALLS, _TIMED_SECONDS = 30, 1.0  # of one image, whichever comes first


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
    judged: The number of labeled images behind the accuracies, 0 where there are none.
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
    most: The number of labeled images used; None: all.

  Raises:
    UserError: The export does not give float32 [N, classes], or the network gives what is not
      finite.
  """
  entry = TARGETS[target]
  shape = network.image_shape
  if examples is None:
    images, labels = random_pictures(COMPARED, shape), None
  else:
    count = min(len(examples), most or len(examples))
    images, labels = examples.images[:count], np.asarray(examples.labels)[:count]
  compared, size_of_batch = min(COMPARED, len(images)), batch_of(shape)
  exactly = in_float32(network)
  other_dtype = exactly is not network
  here = _Timed(outputs_here(network, options))
  ours = outputs_here(exactly, options) if other_dtype else here
  checked = _Timed(functools.partial(_there, predict, len(network.class_names)))

  exact: list[np.ndarray] = []  # of the compared images, the others of all
  own: list[np.ndarray] = []
  there: list[np.ndarray] = []
  for rows in _batches(images, size_of_batch, f'parity of {target}'):
    # One size, so that one program serves all.
    batch = np.resize(rows, (size_of_batch, *shape))
    own.append(here(batch)[: len(rows)])
    if other_dtype and len(exact) * size_of_batch < compared:
      exact.append(ours(batch)[: len(rows)])
    there.append(checked(inputs_of(network, options, batch))[: len(rows)])
  found, trained = np.concatenate(there), np.concatenate(own)
  expected = (np.concatenate(exact) if other_dtype else trained)[:compared]
  largest = float(np.abs(expected).max())
  if not np.isfinite(largest):
    raise UserError(
      f'{network.run} gives outputs that are not finite, as after a training that diverged, so no '
      'export can be compared with it; choose another checkpoint by --checkpoint'
    )
  latency = {str(size_of_batch): {'there': checked.median(), 'here': here.median()}}
  if size_of_batch > 1:
    one = np.asarray(images[:1])
    first = inputs_of(network, options, one)
    alone = {'there': _median_ms(predict, first), 'here': _median_ms(here, one)}
    latency = {'1': alone, **latency}
  return Parity(
    target=target,
    images=what,
    compared=compared,
    largest_difference=_difference(found[:compared], expected),
    largest_output=largest,
    allowed=entry.tolerance * (largest or 1.0),
    equal_classes=_equal(found[:compared], expected),
    judged=0 if labels is None else len(labels),
    accuracy_there=None if labels is None else _accuracy(network, found, labels, options),
    accuracy_here=None if labels is None else _accuracy(network, trained, labels, options),
    as_trained={
      'dtype': network.config.model.dtype,
      'largest_difference': _difference(found[:compared], trained[:compared]),
      'equal_classes': _equal(found[:compared], trained[:compared]),
    }
    if other_dtype
    else None,
    latency=latency,
    bytes=size,
    versions=entry.versions(),
  )


class _Timed:
  """A function and the milliseconds of its calls."""

  def __init__(self, function: Predict):
    self._function = function
    self._times: list[float] = []

  def __call__(self, images: np.ndarray) -> np.ndarray:
    start = time.perf_counter()
    outputs = self._function(images)
    self._times.append(1e3 * (time.perf_counter() - start))
    return outputs

  def median(self) -> float:
    """The median; the first call, in which much is compiled, counts only if it is the only one."""
    return round(statistics.median(self._times[1:] or self._times), 3)


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


def _accuracy(
  network: Classifier, outputs: np.ndarray, labels: np.ndarray, options: Options
) -> float:
  """As evaluation has it; where images may have several labels, the share of right ones."""
  if network.task.measure is None:
    return float((outputs.argmax(1) == labels).mean())
  even = multi_label.EVEN if options.output == 'probabilities' else 0
  return float(((outputs > even) == (labels > 0)).mean())


def _equal(one: np.ndarray, other: np.ndarray) -> float:
  return float((one.argmax(1) == other.argmax(1)).mean())


def _median_ms(predict: Predict, images: np.ndarray) -> float:
  """The median time of a call in milliseconds, of calls for about a second."""
  timed = _Timed(predict)
  timed(images)
  until = time.perf_counter() + _TIMED_SECONDS
  for _ in range(_TIMED_CALLS):
    timed(images)
    if time.perf_counter() > until:
      break
  return timed.median()
