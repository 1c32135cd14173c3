"""What the files of a run say: each column of metrics.csv, each key of summary.json and about.json,
and each file of the folder, in a sentence.

The site's pages about them are made from these tables; a test holds them against what runs write.
"""

from collections.abc import Mapping

METRICS: Mapping[str, str] = {
  'step': 'The number of updates made by the end of the epoch.',
  'epoch': 'The number of the epoch, the first being 1.',
  'train_loss': 'The mean loss over the training images of the epoch, each as the update saw it: '
  'augmented, with dropout, before that update. Penalties on parameters are not included.',
  'train_accuracy': 'The share of those images that the network classified correctly, 0 to 1.',
  'val_loss': 'The mean cross-entropy over the validation images after the epoch, in nats; nan if '
  'the epoch was not validated (`config.evaluate.every_epochs`).',
  'val_accuracy': 'The share of the validation images that are classified correctly, 0 to 1.',
  'learning_rate': 'The learning rate of the last update of the epoch, schedule and plateau '
  'included.',
  'images_per_second': 'Training images per second of training time, without compilation, '
  'validation and saving; nan if every update of the epoch had to be compiled first.',
  'epoch_seconds': 'Seconds since the end of the previous epoch, everything included.',
}

# Of runs on images with several labels, by the name of the metric.
_OF_LABELS: Mapping[str, str] = {
  'map': 'The mean over the labels of the average precision',
  'macro_f1': 'The mean over the labels of F1 at their thresholds',
  'micro_f1': 'F1 at the thresholds, over the decisions on all labels together',
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
  'format': "The number of the format of this file; older formats are read under today's names.",
  'data': 'The name of the data set.',
  'data_source': 'Where the data were read from, or that they are built in.',
  'split_note': 'What must accompany every accuracy of the run, such as that the test set was used '
  'as validation or that the data are synthetic; empty if there is nothing to say.',
}

SUMMARY: Mapping[str, str] = {
  **_SUBJECT,
  'val_loss': 'The mean cross-entropy over the validation images after the last update, in nats.',
  'val_accuracy': 'The share of the validation images classified correctly after the last update, '
  '0 to 1.',
  'test_loss': 'The mean cross-entropy over the test images after the last update; absent if the '
  'test set stays unopened (`config.evaluate.test=False`).',
  'test_accuracy': 'The share of the test images classified correctly after the last update, 0 to '
  '1; absent if the test set stays unopened.',
  'test_opened': 'Whether the run was measured on the test set.',
  'train_loss': 'The last value of that column of metrics.csv.',
  'train_accuracy': 'The last value of that column of metrics.csv.',
  'best_epoch': 'The best of the validated epochs, by `config.checkpoint.best`.',
  'best_val_loss': 'The validation loss of that epoch. The epoch was chosen by its result on these '
  'images, so this is not a fair estimate; the loss after the last update is.',
  'best_val_accuracy': 'The validation accuracy of that epoch, which is not a fair estimate '
  'either.',
  'epochs': 'The planned number of epochs (`config.epochs`).',
  'last_epoch': 'The last epoch that was trained.',
  'max_steps': 'The limit on updates (`config.max_steps`); 0: none.',
  'steps': 'The number of updates made.',
  'stopped_early': 'Whether early stopping ended the run before its plan did.',
  'batch_size': 'Images per update (`config.batch_size`).',
  'seconds': 'Seconds of work in all sessions of the run, from the first step to the last file, '
  'including validation but not the time between sessions.',
  'compile_seconds': 'Seconds of the last session spent in updates that had to be compiled first.',
  'images_per_second': 'The median of that column of metrics.csv; null if it was not measured.',
  'flops_per_second': 'Floating-point operations of training per second: six per multiply-add and '
  'image, times `images_per_second`; null if that is null, and for features that are computed only '
  'once (`config.model.features`).',
  'mfu': 'Model FLOP utilization: those operations as a share of the peak of the devices in 16 '
  'bits; null if the peak is not known, as for every CPU.',
  'placement': 'Where the images were kept (`config.data.placement`).',
  'input_bound_fraction': 'The share of training time in which the devices waited for images; 0 '
  'for data on the devices.',
  'peak_memory_mb': 'The peak memory of the process on the host in its last session, in MiB.',
  'seed': 'The seed (`config.seed`).',
  'model': 'The name of the network (`config.model.name`).',
  'tags': 'The words of `config.tags`.',
  'devices': 'The devices on which it was trained, in order.',
  'processor': 'The processor of the host and the number of its cores that the run could use.',
  'python': 'The version of Python.',
  'jax': 'The version of JAX.',
  'flax': 'The version of Flax.',
  'optax': 'The version of Optax.',
  'orbax-checkpoint': 'The version of Orbax.',
  'xla_flags': 'The flags of the compiler.',
  'command': 'The command line of the last session.',
  'runs_together': 'How many runs the last session trained in one program; absent if it was one. '
  'Seconds and images per second are then those of this run while the others were trained as well.',
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
  'data_fingerprint': 'Eight hexadecimal digits that are the same for runs on the same data.',
  'class_names': 'The names of the classes, in the order of the logits.',
  'image_shape': 'Height, width and channels of the images that the network takes.',
  'preprocessing': 'How an image file becomes such an image: size, resizing, interpolation, '
  'channels and border; absent if it is not known.',
  'layers': 'The number of layers, counted as Keras counts them.',
  **_SIZES,
}

ABOUT_OF_LABELS: Mapping[str, str] = {
  'task': "'multi_label'; absent if each image has one label.",
}

FILES: Mapping[str, str] = {
  'config.json': 'Every option of the run. A command that would resume the run with a different '
  'value of an option that matters is refused.',
  'about.json': 'What is known before the first step: data, classes, size of the images and of the '
  'network. `predict` and `serve` need nothing else but a checkpoint.',
  'metrics.csv': 'A row per epoch. It shows the history that is saved with each checkpoint, and is '
  'rewritten if it differs from that.',
  'summary.json': 'The result, written last: a run without one has not finished.',
  'checkpoints/': 'The newest states from which the run can continue, one folder per step, with '
  'checksums; `config.checkpoint.keep` says how many.',
  'best/': 'The best state by `config.checkpoint.best`.',
  'normalization.npz': 'The statistics of the training images, if normalization or whitening uses '
  'them.',
  'tensorboard/': "TensorBoard's events: curves, texts and images (`config.tensorboard`), and the "
  'traces of `config.profile`.',
  'report/': 'What `python -m cifar_jax report` writes: a page, its images and scores.json.',
  '.lock': 'Held by the process that trains here, so that no other can.',
}
