"""How options, and things that are chosen by name, are declared: once, beside what they act on."""
