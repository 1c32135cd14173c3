"""The images of a run's epochs, from the event files that `report.epoch_images` fills."""

import dataclasses
import pathlib
import threading
from typing import Any

TAGS = ('misclassified', 'confusion_matrix', 'augmented_samples')
_PNG = b'\x89PNG\r\n\x1a\n'
_MOST_IMAGES = 500  # of an epoch
_MOST_FILES = 20  # whose places are remembered


@dataclasses.dataclass
class _Found:
  """What an event file is known to hold, up to a place in it.

  Attributes:
    records: (step, tag) -> place of the record and how many images it has.
    captions: step -> what is said of each misclassified image.
  """

  place: int = 0
  records: dict[tuple[int, str], tuple[int, int]] = dataclasses.field(default_factory=dict)
  captions: dict[int, list[str]] = dataclasses.field(default_factory=dict)


class EpochImages:
  """Reads each event file once, and what is added to it later; may be used by several threads."""

  def __init__(self) -> None:
    self._files: dict[pathlib.Path, _Found] = {}
    self._lock = threading.Lock()

  def steps(self, run: pathlib.Path) -> list[dict[str, Any]]:
    """For each step with images, the newest last: `step`, number of images by tag, `captions`."""
    found: dict[int, dict[str, Any]] = {}
    with self._lock:
      for known in self._known(run).values():
        for (step, tag), (_, count) in known.records.items():
          found.setdefault(step, {'step': step, 'captions': []})[tag] = count
        for step, captions in known.captions.items():
          found.setdefault(step, {'step': step})['captions'] = captions
    return [found[step] for step in sorted(found)]

  def png(self, run: pathlib.Path, step: int, tag: str, index: int) -> bytes | None:
    """The file of one image; None if there is none."""
    from cifar_jax.run_dir import event_file

    with self._lock:
      for path, known in reversed(self._known(run).items()):
        if (step, tag) not in known.records:
          continue
        place, count = known.records[step, tag]
        if not 0 <= index < count:
          return None
        try:
          _, record = next(event_file.read_records(path, place))
          value = _values(record)[1][tag]
        except (OSError, StopIteration, KeyError):
          return None  # deleted or written anew since
        content = value.tensor.string_val[2 + index : 3 + index]
        return content[0] if content and content[0].startswith(_PNG) else None
    return None

  def _known(self, run: pathlib.Path) -> dict[pathlib.Path, _Found]:
    from cifar_jax.run_dir import event_file

    try:
      paths = sorted((run / 'tensorboard' / 'validation').glob('events.out.tfevents.*'))
    except OSError:
      return {}
    known: dict[pathlib.Path, _Found] = {}
    for path in paths:
      found = self._files.pop(path, None) or _Found()
      try:
        if path.stat().st_size < found.place:
          found = _Found()  # another file of that name
        for after, record in event_file.read_records(path, found.place):
          _note(found, record)
          found.place = after
      except OSError:
        continue
      known[path] = self._files[path] = found  # the one that was asked for last stands last
    while len(self._files) > max(_MOST_FILES, len(paths)):
      self._files.pop(next(iter(self._files)))
    return known


def _note(found: _Found, record: bytes) -> None:
  """Remembers the images and captions of the record that begins at `found.place`."""
  step, values = _values(record)
  for tag, value in values.items():
    content = value.tensor.string_val
    if value.metadata.plugin_data.plugin_name == 'images':
      if tag in TAGS and len(content) > 2:
        found.records[step, tag] = (found.place, min(len(content) - 2, _MOST_IMAGES))
    elif tag == 'misclassified' and content:
      text = content[0].decode('utf-8', 'replace').removeprefix('```\n').removesuffix('\n```')
      found.captions[step] = text.split('\n\n')[:_MOST_IMAGES]


def _values(record: bytes) -> tuple[int, dict[str, Any]]:
  """Step and values by tag of an event; (0, {}) of what is none."""
  from google.protobuf.message import DecodeError
  from tensorboard.compat.proto.event_pb2 import Event

  try:
    event = Event.FromString(record)
  except DecodeError:
    return 0, {}
  return event.step, {value.tag: value for value in event.summary.value}
