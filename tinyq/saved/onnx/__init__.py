"""Write networks as ONNX files, and compare tinyq with ONNX Runtime."""
