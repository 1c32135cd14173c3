"""The options of a run: what there is, reading, checking and comparing them."""
