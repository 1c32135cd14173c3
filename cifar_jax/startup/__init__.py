"""What has to be set, or known, before JAX starts; only `unused_note` imports it, to ask."""
