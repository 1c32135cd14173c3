"""Networks trained by others: their weights read, their features used, their layers trained on."""
