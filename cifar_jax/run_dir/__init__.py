"""What a run leaves behind and tells while it goes on: checkpoints, metrics, progress."""
