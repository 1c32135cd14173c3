"""How options and things chosen by name are declared."""
