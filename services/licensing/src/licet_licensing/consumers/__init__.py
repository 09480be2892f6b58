"""Edges that nobody calls: Kafka's topics and the clock."""
