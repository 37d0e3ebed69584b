"""How a network is trained: recipe, optimisers, schedules, augmentation, the loop."""
