"""What billing does: rules, queries and outbox rows within the caller's transaction."""
