"""Listening pages: one per stem of the tracks whose estimates were kept."""
