"""The only place that touches ports, files, onnxruntime, processes and threads."""
