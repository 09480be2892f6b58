"""From the workers' logs to Kafka: reading, recovering, receipts, and what is shipped already."""
