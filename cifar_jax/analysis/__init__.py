"""What a network consists of and what happens inside it: layers, counts, arithmetic, maps."""
