"""The contracts that users implement: strategies and evaluators, and their optional capabilities."""
