"""Executors: run trials in this process, or in supervised workers that can be killed."""
