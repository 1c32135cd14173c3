"""Published weights of networks: their files found and read, as hostile input."""
