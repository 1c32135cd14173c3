"""The head of a model card: YAML that the Hugging Face hub reads.

https://huggingface.co/docs/hub/model-cards
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Data set -> its name on the hub, and for people.
HUB_DATASETS: Mapping[str, tuple[str, str]] = {
  'cifar10': ('uoft-cs/cifar10', 'CIFAR-10'),
  'cifar100': ('uoft-cs/cifar100', 'CIFAR-100'),
  'mnist': ('ylecun/mnist', 'MNIST'),
  'fashion_mnist': ('zalando-datasets/fashion_mnist', 'Fashion-MNIST'),
  'svhn_cropped': ('ufldl-stanford/svhn', 'SVHN'),
}
_TASK = 'image-classification'


def metadata(facts: Mapping[str, Any], tags: Sequence[str]) -> str:
  """The YAML between two lines '---', those included.

  Args:
    facts: As of `facts.facts_of`.
    tags: The words of the config.
  """
  data = facts.get('data', {})
  name = data.get('name', '')
  hub_name, shown = HUB_DATASETS.get(name, ('', name))
  content: dict[str, Any] = {
    'license': facts.get('license', 'unknown'),
    'library_name': 'cifar_jax',
    'pipeline_tag': _TASK,
    'tags': list(dict.fromkeys([_TASK, 'jax', 'flax', facts.get('network', ''), *tags])),
  }
  if hub_name:
    content['datasets'] = [hub_name]
  content['metrics'] = ['accuracy']
  results = [
    _result(each, hub_name or name or 'unknown', shown or 'unknown', facts)
    for each in facts.get('results', ())
  ]
  if results:
    content['model-index'] = [{'name': facts.get('name', 'model'), 'results': results}]
  text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
  return f'---\n{text}---\n'


def _result(
  result: Mapping[str, Any], data: str, shown: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
  metrics = [
    {
      'type': kind,
      'value': round(float(result[kind]), 6),
      'name': f'{name}, {result.get("of", "")}',
    }
    for kind, name in (('accuracy', 'Accuracy'), ('loss', 'Cross-entropy'))
    if isinstance(result.get(kind), int | float)
  ]
  return {
    'task': {'type': _TASK, 'name': 'Image classification'},
    'dataset': {'type': data, 'name': shown, 'split': result.get('split', 'test')},
    'metrics': metrics,
  }
