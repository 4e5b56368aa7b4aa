"""What the model is asked, what it is conditioned on, and what it may answer. Pure."""
