"""Datasets as values: names and paths of tracks and their true stems."""
