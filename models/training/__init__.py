"""Training: loops, losses, and what is fitted to data."""
