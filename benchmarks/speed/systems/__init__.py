"""The systems whose speed is compared: this project and its peers, each in a process of its own."""
