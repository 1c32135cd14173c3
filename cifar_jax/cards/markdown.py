"""The text of a model card, Markdown; what comes from files is escaped."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax.run_dir.progress import duration
from cifar_jax.utils.suggestions import listed

_NAMED = 20  # classes
# Marks anywhere; marks of a list or a title at the start; what would become a link by itself.
_SPECIAL = re.compile(
  r'([\\`*_{}\[\]<>|~$&]|^[#+=-]|(?<=^\d)[.)](?= )|(?<=\w):(?=//)|(?<=www)\.|@)'
)


def escaped(text: object) -> str:
  """A text as itself in Markdown: on one line, and no mark, link or HTML in it."""
  return _SPECIAL.sub(r'\\\1', ' '.join(str(text).split()))


def code(text: object) -> str:
  """A text as code within a line."""
  plain = ' '.join(str(text).split()) or ' '
  ticks = '`' * (1 + max(map(len, re.findall('`+', plain)), default=0))
  return f'{ticks} {plain} {ticks}' if len(ticks) > 1 else f'`{plain}`'


def block(text: str, language: str = '') -> str:
  """Lines of code."""
  fence = '`' * max(3, 1 + max(map(len, re.findall('`+', text)), default=0))
  return f'{fence}{language}\n{text}\n{fence}'


def body(
  facts: Mapping[str, Any],
  class_names: Sequence[str],
  recipe: Sequence[str],
  reference: str,
  pictures: Mapping[str, str],
) -> str:
  """The card below its metadata.

  Args:
    facts: As of `facts.facts_of`.
    class_names: The classes, by label.
    recipe: The lines of a config file that differ from the defaults.
    reference: What commands call the model.
    pictures: Title -> file beside the card.
  """
  parts = [
    f'# {escaped(facts.get("name", "model"))}',
    _introduction(facts),
    '## Numbers',
    _numbers(facts),
    *[f'- {escaped(remark)}' for remark in facts.get('remarks', ())],
    *[f'![{escaped(title)}]({file})' for title, file in pictures.items()],
    '## Use',
    block(
      f'python -m cifar_jax predict {reference} picture.jpg\n'
      f'python -m cifar_jax serve {reference}\n'
      f'python -m cifar_jax evaluate {reference}\n'
      f'python launch.py --config=... --config.init_from={reference}',
      'sh',
    ),
    '## Data',
    _data(facts, class_names),
    '## Recipe',
    _training(facts),
    *(
      ['What differs from the defaults of `configs/base.py`:', block('\n'.join(recipe), 'python')]
      if recipe
      else []
    ),
    '## Limits',
    _limits(facts, class_names),
    *_weights(facts),
  ]
  return '\n\n'.join(part for part in parts if part) + '\n'


def percent(value: float) -> str:
  """'90.29 %'."""
  return f'{100 * value:.2f} %'


def size(facts: Mapping[str, Any]) -> str:
  """'32x32x3', or '' where it is not known."""
  shape = facts.get('image_shape')
  known = isinstance(shape, list) and all(isinstance(each, int) for each in shape)
  return 'x'.join(str(each) for each in shape) if known and shape else ''


def _introduction(facts: Mapping[str, Any]) -> str:
  shape, classes = size(facts), facts.get('classes')
  what = f'A network {code(facts.get("network", "?"))}'
  if 'parameters' in facts:
    what += f' of {facts["parameters"]:,} parameters'
  if shape:
    what += f' that takes images of {shape}'
  if classes:
    what += f' to {classes} classes'
  purpose = facts.get('purpose')
  return f'{escaped(purpose)}\n\n{what}.' if purpose else f'{what}.'


def _numbers(facts: Mapping[str, Any]) -> str:
  rows = []
  for result in facts.get('results', ()):
    accuracy, loss = result.get('accuracy'), result.get('loss')
    count = f'{result["examples"]:,} images, ' if 'examples' in result else ''
    rows.append(
      (
        percent(accuracy) if accuracy is not None else '',
        f'{loss:.4f}' if loss is not None else '',
        f'{count}{escaped(result.get("split", "?"))}',
        escaped(result.get('of', '')),
        escaped(result.get('views', '')),
      )
    )
  if not rows:
    text = 'Not measured yet: `python -m cifar_jax evaluate` measures it.'
  else:
    text = _table(('accuracy', 'cross-entropy', 'measured on', 'of', 'prediction from'), rows)
  ranked = [result['map'] for result in facts.get('results', ()) if result.get('map') is not None]
  if ranked:
    text += (
      f'\n\nAn image may have several labels: the accuracy is the share of all labels that a '
      f'probability above 1/2 predicts rightly, the mean average precision is {percent(ranked[0])}.'
    )
  others = [
    (
      str(each.get('n', 1)),
      percent(each['mean']) + (f' ± {100 * each["sd"]:.2f}' if each.get('sd') is not None else ''),
      escaped(each.get('of', '')),
      code(each.get('table', '')),
    )
    for each in facts.get('other_runs', ())
    if each.get('mean') is not None
  ]
  if others:
    text += '\n\nOther runs of the same recipe, test accuracy:\n\n'
    text += _table(('seeds', 'mean ± standard deviation', 'how', 'table'), others)
  return text


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [titles, ['---'] * len(titles), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _data(facts: Mapping[str, Any], class_names: Sequence[str]) -> str:
  data = facts.get('data', {})
  counts = [
    f'{data[f"{name}_examples"]:,} {word}'
    for name, word in (('train', 'to train on'), ('validation', 'to validate'), ('test', 'to test'))
    if data.get(f'{name}_examples') is not None
  ]
  text = escaped(data.get('name', 'unknown'))
  if counts:
    text += f': {", ".join(counts)}'
  text += '. '
  if data.get('validated_on'):
    text += f'Validated on {escaped(data["validated_on"])}. '
  if data.get('fingerprint'):
    text += f'Fingerprint {code(data["fingerprint"])}. '
  if class_names:
    text += f'Classes: {escaped(listed(list(class_names), _NAMED))}.'
  if facts.get('data_terms'):
    text += f'\n\n{escaped(facts["data_terms"])}'
  return text.strip()


def _training(facts: Mapping[str, Any]) -> str:
  trained = facts.get('trained', {})
  lines = []
  if trained.get('command'):
    lines.append(block(trained['command'], 'sh'))
  words = []
  if trained.get('epochs') is not None:
    words.append(f'{trained["epochs"]} epoch{"" if trained["epochs"] == 1 else "s"}')
  if trained.get('steps') is not None:
    words.append(f'{trained["steps"]:,} updates')
  if trained.get('seconds') is not None:
    words.append(duration(trained['seconds']))
  if trained.get('precision'):
    words.append(f'trained in {escaped(trained["precision"])}')
  if trained.get('hardware'):
    words.append(escaped(trained['hardware']))
  if trained.get('jax'):
    words.append(f'jax {escaped(trained["jax"])}')
  if trained.get('seed') is not None:
    words.append(f'seed {trained["seed"]}')
  if trained.get('date'):
    words.append(escaped(trained['date']))
  if words:
    lines.append(f'{", ".join(words)}.')
  return '\n\n'.join(lines)


def _limits(facts: Mapping[str, Any], class_names: Sequence[str]) -> str:
  shape = size(facts)
  count = len(class_names) or facts.get('classes') or 'its'
  lines = [
    f'- It answers with one of {count} classes, whatever is in the picture: a picture of '
    'something else gets one of them too, often with a high probability.',
  ]
  if shape and 'trained' in facts:
    lines.append(
      f'- It has seen images of {shape} of one data set alone. Other pictures are made that small, '
      'and are often of another kind: expect fewer right answers than the table says.'
    )
  elif shape:
    lines.append(
      f'- It takes images of {shape}. Other pictures are made that small, and may be of another '
      'kind than those that it was trained on.'
    )
  lines.append(
    '- Probabilities are not calibrated; `python -m cifar_jax report` shows how far they are off.'
  )
  return '\n'.join(lines)


def _weights(facts: Mapping[str, Any]) -> list[str]:
  weights = facts.get('weights', {})
  if not weights:
    return []
  lines = []
  if weights.get('bytes') is not None:
    lines.append(
      f'- `model.safetensors`: {weights["bytes"]:,} bytes, parameters in '
      f'{escaped(weights.get("precision", "?"))}'
    )
  if weights.get('sha256'):
    lines.append(f'- SHA-256 {code(weights["sha256"])}')
  if (difference := weights.get('largest_difference')) is not None:
    where = code(weights.get('largest_difference_in', '?'))
    lines.append(
      f'- largest difference from the weights as trained: {difference:.2g} in {where}'
      if difference
      else '- the weights as trained, every bit'
    )
  lines.append(f'- license of the weights: {escaped(facts.get("license", "unknown"))}')
  return ['## Weights', '\n'.join(lines)]
