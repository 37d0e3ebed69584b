"""Training of networks: the loop, its recipe, optimisers, schedules and augmentation."""
