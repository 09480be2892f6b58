"""What the gateway's own tests stand on: a scripted licensing, real processes, models, and readers of what came out."""
