"""Errors of the library."""


class Unsupported(NotImplementedError):
    """A backend or a model cannot do what it was asked; the message says why and what can."""
