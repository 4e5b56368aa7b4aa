"""Networks: layers, mixers, decoder, autoencoder, planner, and runs on disk."""
