"""What the files of older runs are called today."""

FORMAT = 2
