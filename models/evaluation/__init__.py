"""How good a model is, in figures, pictures and files to listen to."""
