"""What tests and benchmarks of licensing share. No service imports it."""
