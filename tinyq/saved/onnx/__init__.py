"""Convert networks to ONNX files and back, and compare tinyq with ONNX Runtime."""
