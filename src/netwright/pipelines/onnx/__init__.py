"""Building of ONNX graphs."""
