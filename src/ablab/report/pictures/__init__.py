"""Pictures of a table, each as SVG text; matplotlib is imported in this package alone."""
