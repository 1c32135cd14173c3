"""What a run says about itself: its header and closing lines, and the content of summary.json."""

import dataclasses
import math
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.analysis import flops, layer_table
from cifar_jax.analysis.layer_table import NetworkSummary
from cifar_jax.data import Splits
from cifar_jax.data.identity import fingerprint
from cifar_jax.devices import sharding
from cifar_jax.run_dir import run_files
from cifar_jax.run_dir.progress import duration
from cifar_jax.run_dir.timer import RunTimer, images_per_second
from cifar_jax.startup import host_memory, processor
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.build import Trainer
from cifar_jax.training import tasks
from cifar_jax.training.steps import TrainState, variables
from cifar_jax.utils.suggestions import listed

NOT_OPENED = 'test set not opened'
_CLASSES = 10  # named in the header


def split_note(splits: Splits) -> str:
  """What must stand beside every accuracy of this data, as 'test used as validation, synthetic';
  '' if there is nothing.
  """
  parts = [splits.validation_label] if splits.validation_is_test else []
  return ', '.join([*parts, *(['synthetic'] if splits.synthetic else []), *splits.remarks])


def _split_note_of_run(config: ConfigDict, splits: Splits) -> str:
  """The same, and whether the run leaves the test set unopened."""
  closed = splits.has_test and not config.evaluate.test
  return ', '.join(filter(None, [split_note(splits), NOT_OPENED if closed else '']))


def header(
  trainer: Trainer,
  splits: Splits,
  network: NetworkSummary,
  run: pathlib.Path,
  startup_note: str = '',
) -> str:
  """The network, the data, the devices and the plan, printed before the first step."""
  config = trainer.config
  limit = f', {trainer.total_steps} in all' if config.max_steps else ''
  validation = (
    f'the test set ({splits.validation_label})'
    if splits.validation_is_test and splits.has_test
    else f'{len(splits.validation)} images'
  )
  on_each = f'{sharding.gib(splits.image_bytes)} on each'
  placement = 'with the host' if config.data.placement == 'host' else on_each
  startup = f'; {startup_note}' if startup_note else ''
  tested = f'{len(splits.test)} test images' if splits.has_test else 'which serve as test images'
  if splits.has_test and not config.evaluate.test:
    tested += ', not opened'
  notes = ''.join(f'            {note}\n' for note in (*splits.notes, *_balance(trainer, splits)))
  return (
    f'{network.drawing}\n\n'
    f'data        {splits.name} from {splits.source}: {len(splits.train)} training images, '
    f'validation on {validation}, {tested}\n'
    f'            {_classes(splits.class_names)}\n{notes}'
    f'devices     {sharding.describe(trainer.mesh)}, images {placement}{startup}\n'
    f'training    {trainer.epochs} epochs of {trainer.steps_per_epoch} steps of '
    f'{config.batch_size} images{limit}, {config.optimizer.name}, seed {config.seed}\n'
    f'run         {run}\n'
  )


def _balance(trainer: Trainer, splits: Splits) -> list[str]:
  """Sentences on classes that count more than others, or are drawn more often."""
  notes = []
  recipe = trainer.recipe
  for what, weights in (
    ('weights', recipe.class_weights),
    ('weights of images with the label', recipe.positive_weights),
  ):
    if weights:
      each = zip(splits.class_names, weights, strict=True)
      named = listed([f'{name} {weight:.3g}' for name, weight in each], _CLASSES)
      notes.append(f'{what} in the training loss: {named}')
  if trainer.recipe.draw is not None:
    notes.append('every class is drawn as often, so training loss and accuracy are of such images')
  return notes


def _classes(names: Sequence[str]) -> str:
  """'3 classes: cat, dog, eel'; of many the first few."""
  rest = len(names) - _CLASSES
  return f'{len(names)} classes: {", ".join(names[:_CLASSES])}' + (', ...' if rest > 0 else '')


def closing(results: Mapping[str, Any], run: pathlib.Path) -> str:
  """The result, and where to look."""
  suffix = f' [{results["split_note"]}]' if results['split_note'] else ''
  cut = results['steps'] == results['max_steps']
  length = (
    f'{results["steps"]} steps' if cut else f'{results.get("last_epoch", results["epochs"])} epochs'
  )
  opened = 'test_accuracy' in results
  prefix = 'test' if opened else 'val'
  loss, accuracy = results[f'{prefix}_loss'], results[f'{prefix}_accuracy']
  ranked = results.get(f'{prefix}_map')
  ranked = '' if ranked is None else f', mean average precision {100 * ranked:.2f} %'
  split = 'test' if opened else 'validation'
  folder = shlex.quote(str(run))
  return (
    f'\n{split} loss {loss:.4f}, {split} accuracy {100 * accuracy:.2f} %'
    f'{ranked}{suffix} after {length}, {duration(results["seconds"])}\n'
    f'speed       {_speed(results)}\n'
    f'{_waiting(results)}'
    f'look at     {run / "metrics.csv"} and {run / run_files.SUMMARY}\n'
    f'curves      tensorboard --logdir {folder}\n'
    f'report      python -m cifar_jax report {folder}\n'
    f'check       python -m cifar_jax evaluate {folder}'
  )


def _speed(results: Mapping[str, Any]) -> str:
  """'1769 images/s, 405 GFLOP/s', and the share of the devices' peak where that is known."""
  if results['images_per_second'] is None:
    return 'not measured, since every update was compiled first'
  text = f'{results["images_per_second"]:.0f} images/s'
  if results.get('flops_per_second') is not None:  # summaries of older versions lack it
    text += f', {results["flops_per_second"] / 1e9:.4g} GFLOP/s'
  if results.get('mfu') is not None:
    text += f', {100 * results["mfu"]:.1f} % of the peak'
  return text


def _waiting(results: Mapping[str, Any]) -> str:
  """A line on the feed where images come from the host; summaries of older versions lack it."""
  if results.get('placement') != 'host':
    return ''
  share = 100 * results['input_bound_fraction']
  return f'data        {share:.1f} % of training time spent waiting for images\n'


def about(config: ConfigDict, splits: Splits, network: NetworkSummary) -> dict[str, Any]:
  """The content of about.json: what is known before the first step, and what it takes to use the
  network without its data.
  """
  task = tasks.of_labels(splits.train.labels)
  return {
    'data': splits.name,
    'data_source': splits.source,
    'data_fingerprint': fingerprint(splits),
    'train_examples': len(splits.train),
    'validation_examples': splits.validation_examples,
    'test_examples': len(splits.test),
    'split_note': _split_note_of_run(config, splits),
    'class_names': list(splits.class_names),
    'image_shape': list(splits.image_shape),
    **({'preprocessing': dataclasses.asdict(splits.preprocessing)} if splits.preprocessing else {}),
    **({'task': task.name} if task.measured else {}),
    'layers': len(network.layers),
    'parameters': network.parameters.trainable,
    'non_trainable_params': network.parameters.non_trainable,
    'macs': network.macs,
  }


def texts(trainer: Trainer, network: NetworkSummary, state: TrainState) -> dict[str, str]:
  """What TensorBoard shows of a run beside its curves: by name, in Markdown."""
  found = {
    'config': trainer.config.to_json(indent=2),
    'parameters': layer_table.parameter_overview(variables(state)),
    'network': network.drawing,
  }
  blocks = {name: f'```\n{text}\n```' for name, text in found.items()}
  return {**blocks, 'size': str(network)}


def hparams(config: ConfigDict) -> dict[str, bool | float | str]:
  """The options that make a run another one, but for the seed: TensorBoard's HParams page averages
  over runs in which they agree.
  """
  left_out = configs.NEUTRAL - {'epochs', 'max_steps'}
  return {
    name: value if isinstance(value, bool | int | float | str) else str(value)
    for name, value in configs.flatten(config)
    if value is not None and name not in left_out
  }


def results(
  trainer: Trainer,
  splits: Splits,
  network: NetworkSummary,
  state: TrainState,
  validation: Mapping[str, Any],
  test: Mapping[str, Any],
  rows: Sequence[Mapping[str, float]],
  timer: RunTimer,
  devices: Sequence[str],
  together: int,
) -> dict[str, Any]:
  """The content of summary.json: one flat object that needs nothing else to be compared with
  others.

  Args:
    test: The metrics on the test set; {} where the run leaves it unopened.
    state: The state after the last step; all accuracies are those of the last step, not of the best
      epoch, unless named so.
    devices: What it was trained on, one after the other.
    together: The number of runs that the last session trained in one program; seconds and images
      per second are then those of this run beside the others.
  """
  config, metrics = trainer.config, trainer.recipe.task.metrics
  sign = -1 if config.checkpoint.best == 'val_loss' else 1
  validated = [row for row in rows if not math.isnan(row[config.checkpoint.best])]
  best = max(validated, key=lambda row: sign * row[config.checkpoint.best])
  trainable, moving = layer_table.parameter_count(variables(state))
  speed = images_per_second(rows)
  # Of maps that are computed once a step makes only what follows them, which is not counted.
  cached = cached_features.are_cached(trainer.recipe.module)
  flops_per_second = None if cached else speed and flops.TRAINING * network.macs * speed
  peaks = [flops.peak(device.device_kind) for device in trainer.mesh.devices.flat]
  known = [peak for peak in peaks if peak]
  return {
    **{f'val_{name}': validation[name] for name in metrics},
    **{f'test_{name}': test[name] for name in metrics if test},
    'test_opened': config.evaluate.test,
    'split_note': _split_note_of_run(config, splits),
    'train_loss': rows[-1]['train_loss'],
    'train_accuracy': rows[-1]['train_accuracy'],
    'best_epoch': int(best['epoch']),
    **{f'best_val_{name}': best[f'val_{name}'] for name in metrics},
    'epochs': config.epochs,
    'last_epoch': int(rows[-1]['epoch']),
    'max_steps': config.max_steps,
    'steps': int(state.step),
    'stopped_early': int(state.step) < trainer.total_steps,
    'batch_size': config.batch_size,
    'parameters': trainable,
    'non_trainable_params': moving,
    'seconds': timer.seconds,
    'compile_seconds': timer.compile_seconds,  # of the last session
    'images_per_second': speed,
    'macs': network.macs,  # of one image's forward pass
    'flops_per_second': flops_per_second,
    'placement': config.data.placement,
    # Of the time spent training; 0 for data on the devices.
    'input_bound_fraction': timer.input_bound_fraction,
    'mfu': (
      flops_per_second / sum(known) if flops_per_second and len(known) == len(peaks) else None
    ),
    'peak_memory_mb': host_memory.peak() / 2**20,
    'seed': config.seed,
    'model': config.model.name,
    'data': splits.name,
    'data_source': splits.source,
    'train_examples': len(splits.train),
    'validation_examples': splits.validation_examples,
    'test_examples': len(splits.test),
    'tags': ' '.join(config.tags),
    'devices': ', then '.join(devices),
    'processor': processor.described(),
    'python': platform.python_version(),
    **{name: metadata.version(name) for name in ('jax', 'flax', 'optax', 'orbax-checkpoint')},
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
    'command': shlex.join(sys.argv),
    **({'runs_together': together} if together > 1 else {}),
  }
