"""The story of one model, told step by step with figures read back from where they are kept."""
