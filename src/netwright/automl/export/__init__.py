"""From a finished search to files: what is delivered, exported, checked and measured."""
