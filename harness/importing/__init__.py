"""Scores that others published, as a run of their own: looked at, compared, chosen from.

An imported run says of every metric how its publishers define it; one that differs from ours
cannot be joined with a run that measured it (`harness.results.join`). Separators are called
``<run>:<name>``, which no registry entry can be.
"""

from harness.importing.formats import FORMATS
from harness.importing.reading import Request, check_folder, read_published
from harness.importing.record import is_imported, role_of

__all__ = ["FORMATS", "Request", "check_folder", "is_imported", "read_published", "role_of"]
