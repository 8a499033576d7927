"""Errors that are the user's to mend: the command line prints them and exits with 2."""


class InputError(Exception):
    """Something given is wrong; the message names it, what came and what was expected."""
