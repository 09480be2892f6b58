"""What the vault does; callers open the transactions."""
