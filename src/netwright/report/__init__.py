"""Runs as tables for people: leaderboards, and candidates in a few words."""
