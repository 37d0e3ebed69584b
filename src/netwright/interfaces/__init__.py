"""The contracts that users implement and others call: strategies, evaluators, and what they offer."""
