"""What pipelines write their ONNX nodes with."""
