"""The command line: fit, predict, leaderboard, show, export, demo, bench."""
