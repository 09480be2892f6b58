"""A model that gives back what it is given: what a call costs when the model itself costs next to nothing."""
