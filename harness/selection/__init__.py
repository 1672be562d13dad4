"""Selection: which separator for which stem, chosen without the answers."""
