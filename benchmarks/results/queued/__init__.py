"""What the verb `queue` is made of."""
