"""The page of a run: `index_page` renders it; the other modules prepare its sections."""
