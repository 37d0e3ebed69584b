"""Zero-cost proxies: scores of untrained networks after one batch."""
