"""A user's own music: find songs, choose a separator, separate, write the stems."""
