"""One file a system; `base.get_config()` gives every option its default."""
