"""What billing does by itself, by the clock: post what is final, settle, reconcile."""
