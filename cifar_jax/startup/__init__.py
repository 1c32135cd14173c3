"""What has to be set before JAX starts; nothing here imports it."""
