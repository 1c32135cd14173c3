"""What layers with a sliding window (convolutions, pools) share."""

from collections.abc import Sequence

from cifar_jax.utils.errors import UserError

Padding = str | Sequence[tuple[int, int]]  # 'SAME', 'VALID' or ((top, bottom), (left, right))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
  """Returns (height, width) from one number or two."""
  if isinstance(value, int):
    return (value, value)
  height, width = value
  return (int(height), int(width))


def require_room(what: str, shape: Sequence[int], window: Sequence[int], padding: Padding) -> None:
  """Refuses a map smaller than the window, of which XLA would make an empty map.

  Args:
    what: Name of the operation, for the message.
    shape: [B, H, W, C] of its input.
    window: Height and width that the window spans.
    padding: The padding, as the layers take it.

  Raises:
    UserError: The input is no batch of maps, or the window does not fit.
  """
  if len(shape) != 4:
    raise UserError(f'a {what} needs maps [B, H, W, C], but its input has the shape {tuple(shape)}')
  if padding == 'SAME':
    return
  margins = ((0, 0), (0, 0)) if isinstance(padding, str) else padding
  height, width = (size + sum(pads) for size, pads in zip(shape[1:3], margins, strict=True))
  if height < window[0] or width < window[1]:
    raise UserError(f'a {window[0]}x{window[1]} {what} does not fit into a map of {height}x{width}')
