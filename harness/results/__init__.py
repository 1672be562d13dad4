"""What a run produced: its tables, the ranking, leaks, imported scores."""
