"""torch -> ONNX: graphs, metadata, parity check, quantisation."""
