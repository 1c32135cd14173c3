"""One file per system; `base.get_config()` gives every option its default."""
