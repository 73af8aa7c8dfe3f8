"""`backbone inspect`."""


def inspect() -> None:
    pass
