"""What is swept, and in which order."""
