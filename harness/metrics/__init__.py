"""Scores: how near an estimate is to its reference, in decibels."""
