"""Demo music: composed, performed and rendered by the project itself."""
