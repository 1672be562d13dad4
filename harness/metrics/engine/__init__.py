"""BSS Eval: correlations, filters and energies of all frames."""
