"""Alembic's entry."""

from licet_kit.migrations import run_env

run_env()
