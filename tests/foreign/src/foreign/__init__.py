"""The package of the project that the tests of other packages run."""
