"""`backbone extract`."""


def extract() -> None:
    pass
