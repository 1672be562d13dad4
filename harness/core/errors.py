"""Exceptions that a user can fix."""


class HarnessError(Exception):
    """A mistake the user can fix: wrong path, bad file, unknown name.

    The message has the form ``<where>: <what is wrong, with the value>; <what to do>``. The command
    line prints it without a traceback and exits with status 2; every other exception is a bug.
    """


class StorageError(HarnessError):
    """Nothing more can be written (disk full, folder read-only): continuing would lose work."""
