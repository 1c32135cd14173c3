"""What the pages on one label an image and on several have in common."""

from typing import Any, NamedTuple


class Findings(NamedTuple):
  """What is found in the predictions of a split.

  Attributes:
    tiles: (value, name), the numbers at the top of the page.
    sections: What the template shows.
    measured: The numbers that commands print and scores.json begins with.
    details: What else it holds.
    files: Name -> text of files beside the page.
  """

  tiles: list[tuple[str, str]]
  sections: dict[str, Any]
  measured: dict[str, float]
  details: dict[str, Any]
  files: dict[str, str]
