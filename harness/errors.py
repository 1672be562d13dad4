"""Exceptions that a user can mend."""


class HarnessError(Exception):
    """A mistake the user can fix: wrong path, bad file, unknown name.

    The message has the form ``<where>: <what is wrong, with the value>; <what to do>``. The command
    line prints it without a traceback and exits with status 2; every other exception is a bug.
    """


class StorageError(HarnessError):
    """Nothing can be kept any more (disk full, folder read-only): going on would lose work."""
