"""Separators: everything that takes a mixture apart."""
