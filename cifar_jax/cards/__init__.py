"""Model cards: what is known of a run or of a model folder, for programs and for people."""
