"""What things cost, from run records."""
