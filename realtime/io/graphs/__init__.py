"""onnxruntime: the step graph and the graphs around latents."""
