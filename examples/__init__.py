"""Examples of what is published on Licet."""
