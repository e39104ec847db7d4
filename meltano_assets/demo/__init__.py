"""The demo: the whole graph against the sandbox company, on embedded parts, told as it happens."""
