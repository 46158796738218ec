"""Plans of runs: variants, grids and seeds, expanded into jobs that are run once each."""
