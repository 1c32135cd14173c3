"""Training: the only room with side effects while a network is trained."""
