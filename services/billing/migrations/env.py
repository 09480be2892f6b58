"""Runs the migrations on the connection that `migrate` opened."""

from licet_kit.migrations import run_env

run_env()
