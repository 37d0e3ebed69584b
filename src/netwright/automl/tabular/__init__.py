"""Tables: families of models, default configurations, and the order of candidates."""
