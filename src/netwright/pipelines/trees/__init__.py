"""Boosting and forests of several libraries, as trees in one library-independent form."""
