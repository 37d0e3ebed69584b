"""One-shot evaluators: supernet searches, and candidates scored with shared weights."""
