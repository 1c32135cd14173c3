"""What the files of a run say: each column of metrics.csv, each key of summary.json and about.json,
and each file of the folder, in a sentence.

The site's pages about them are made from these tables; a test holds them against what runs write.
"""

from collections.abc import Mapping

METRICS: Mapping[str, str] = {
  'step': 'The number of updates made by the end of the epoch.',
  'epoch': 'The number of the epoch, the first being 1.',
  'train_loss': 'The mean loss over the training images of the epoch, each as the update saw it: '
  'augmented, with dropout, before that update. Penalties on parameters are not in it.',
  'train_accuracy': 'The share of those images that the network classified as labeled, 0 to 1.',
  'val_loss': 'The mean cross-entropy over the validation images after the epoch, in nats; nan '
  'where the epoch was not validated (`config.evaluate.every_epochs`).',
  'val_accuracy': 'The share of the validation images that are classified as labeled, 0 to 1.',
  'learning_rate': 'The learning rate of the last update of the epoch, schedule and plateau '
  'included.',
  'images_per_second': 'Training images per second of training time: without compilation, '
  'validation and saving. nan where each update of the epoch was compiled first.',
  'epoch_seconds': 'Seconds from the end of the epoch before, everything included.',
}

# Of runs on images with several labels, by the name of the metric.
_OF_LABELS: Mapping[str, str] = {
  'map': 'The mean over the labels of the average precision',
  'macro_f1': 'The mean over the labels of F1 at their thresholds',
  'micro_f1': 'F1 at the thresholds, of the decisions on all labels together',
}
METRICS_OF_LABELS: Mapping[str, str] = {
  f'val_{name}': f'{text}, on the validation images, 0 to 1.' for name, text in _OF_LABELS.items()
}

_SIZES: Mapping[str, str] = {
  'train_examples': 'The number of training images, without those held out.',
  'validation_examples': 'The number of validation images.',
  'test_examples': 'The number of test images.',
  'parameters': 'The number of scalars that training changes.',
  'non_trainable_params': 'The number of other scalars, such as running statistics.',
  'macs': 'Multiply-adds of the forward pass of one image, in convolutions and matrix products.',
}
_SUBJECT: Mapping[str, str] = {
  'format': 'The number of the format of this file; older ones are read under the names of today.',
  'data': 'The name of the data set.',
  'data_source': 'Where the data were read from, or that they are built in.',
  'split_note': 'What must stand beside every accuracy of the run, as that the test set was used '
  'as validation, or that the data are synthetic; empty where there is nothing.',
}

SUMMARY: Mapping[str, str] = {
  **_SUBJECT,
  'val_loss': 'The mean cross-entropy over the validation images after the last update, in nats.',
  'val_accuracy': 'The share of the validation images classified as labeled after the last '
  'update, 0 to 1.',
  'test_loss': 'The mean cross-entropy over the test images after the last update; absent where '
  'the test set stays unopened (`config.evaluate.test=False`).',
  'test_accuracy': 'The share of the test images classified as labeled after the last update, '
  '0 to 1; absent where the test set stays unopened.',
  'test_opened': 'Whether the run measured itself on the test set.',
  'train_loss': 'The last value of that column of metrics.csv.',
  'train_accuracy': 'The last value of that column of metrics.csv.',
  'best_epoch': 'The validated epoch that was best by `config.checkpoint.best`.',
  'best_val_loss': 'The validation loss of that epoch. Its accuracy was chosen by, so it is no '
  'fair estimate; that of the last update is.',
  'best_val_accuracy': 'The validation accuracy of that epoch; the same holds.',
  'epochs': 'The planned number of epochs (`config.epochs`).',
  'last_epoch': 'The last epoch that was trained.',
  'max_steps': 'The limit on updates (`config.max_steps`); 0: none.',
  'steps': 'The number of updates made.',
  'stopped_early': 'Whether early stopping ended the run before its plan did.',
  'batch_size': 'Images per update (`config.batch_size`).',
  'seconds': 'Seconds of work in all sessions of the run, from the first step to the last file, '
  'validation included; time between sessions is not.',
  'compile_seconds': 'Seconds of updates that had to be compiled first, in the last session.',
  'images_per_second': 'The median of that column of metrics.csv; null where it was not measured.',
  'flops_per_second': 'Floating-point operations of training per second: six per multiply-add and '
  'image, times `images_per_second`; null with it, and for maps that are computed once '
  '(`config.model.features`).',
  'mfu': 'Those operations as a share of what the devices can make at most in 16 bits; null where '
  'that is not known, as for every CPU.',
  'placement': 'Where the images were kept (`config.data.placement`).',
  'input_bound_fraction': 'The share of training time in which the devices waited for images; 0 '
  'for data on the devices.',
  'peak_memory_mb': 'The most memory of the host that the process held in its last session, MiB.',
  'seed': 'The seed (`config.seed`).',
  'model': 'The name of the network (`config.model.name`).',
  'tags': 'The words of `config.tags`.',
  'devices': 'What it was trained on, one after the other.',
  'processor': 'The processor of the host and its number of cores.',
  'python': 'The version of Python.',
  'jax': 'The version of JAX.',
  'flax': 'The version of Flax.',
  'optax': 'The version of Optax.',
  'orbax-checkpoint': 'The version of Orbax.',
  'xla_flags': 'The flags of the compiler.',
  'command': 'The command line of the last session.',
  'runs_together': 'How many runs the last session trained in one program; absent for one. Seconds '
  'and images per second are then those of this run beside the others.',
  **_SIZES,
}

SUMMARY_OF_LABELS: Mapping[str, str] = {
  f'{prefix}_{name}': f'{text}, {where}, 0 to 1.'
  for prefix, where in (
    ('val', 'on the validation images after the last update'),
    ('test', 'on the test images after the last update'),
    ('best_val', 'on the validation images in the best epoch'),
  )
  for name, text in _OF_LABELS.items()
}

ABOUT: Mapping[str, str] = {
  **_SUBJECT,
  'data_fingerprint': 'Eight hexadecimal digits that runs on the same data have in common.',
  'class_names': 'The names of the classes, in the order of the logits.',
  'image_shape': 'Height, width and channels of the images that the network takes.',
  'preprocessing': 'How an image file becomes one of those: size, resizing, interpolation, '
  'channels and border; absent where the data are not made of such files.',
  'layers': 'The number of layers, counted as Keras counts them.',
  **_SIZES,
}

ABOUT_OF_LABELS: Mapping[str, str] = {
  'task': "'multi_label'; absent where an image has one label.",
}

FILES: Mapping[str, str] = {
  'config.json': 'Every option of the run. A command that would resume it with other options that '
  'matter is refused.',
  'about.json': 'What is known before the first step: data, classes, size of the images and of the '
  'network. `predict` and `serve` need nothing else beside a checkpoint.',
  'metrics.csv': 'A row per epoch. It shows the history that is saved with each checkpoint, and is '
  'written again where it is not what the checkpoint says.',
  'summary.json': 'The result, written last: a run without one has not finished.',
  'checkpoints/': 'The newest states to go on from, one folder per step, with checksums; '
  '`config.checkpoint.keep` says how many.',
  'best/': 'The best state by `config.checkpoint.best`.',
  'normalization.npz': 'The statistics of the training images, where normalization or whitening '
  'takes them from there.',
  'tensorboard/': "TensorBoard's events: curves, texts and images (`config.tensorboard`), and the "
  'traces of `config.profile`.',
  'report/': 'What `python -m cifar_jax report` makes: a page, its images and scores.json.',
  '.lock': 'Held by the process that trains here, so that no second one does.',
}
