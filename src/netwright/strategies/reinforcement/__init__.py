"""Reinforcement learning: policies over candidates and policy-gradient strategies."""
