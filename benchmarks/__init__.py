"""Benchmarks of this repository, measured from run records; not installed. See README.md."""
