"""Alembic's entry: kit runs the migrations on its own connection."""

from licet_kit.migrations import run_env

run_env()
