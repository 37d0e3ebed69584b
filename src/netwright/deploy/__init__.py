"""Delivered models: one ONNX file, written, checked, read and run."""
