"""Tables and every query; they return domain types."""
