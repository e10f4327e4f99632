"""Moving frames between the two guests' numbers."""
