"""torch: layers, networks, data, training, evaluation. `pretrained/` holds what ships."""
