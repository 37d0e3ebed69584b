"""Tables: families of models, strong configurations, folds and the order of trials."""
