"""`antiphon bench`: what a machine does, measured."""
