"""Other gateways in front of the same Triton, each as its own documentation configures it."""
