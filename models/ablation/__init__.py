"""What each part of a model is worth."""
