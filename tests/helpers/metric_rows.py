"""Rows of metrics.csv with values that a careless round trip would change."""

COLUMNS = [
  *('step', 'epoch', 'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy'),
  *('learning_rate', 'images_per_second', 'epoch_seconds'),
]


def row(epoch: int) -> dict[str, float]:
  values = [6 * epoch, epoch, 1 / epoch, 0.1 * epoch, 1e-30, 1.0, 1e-3 / 3, 12345.678, 1e16]
  return dict(zip(COLUMNS, values, strict=True))
