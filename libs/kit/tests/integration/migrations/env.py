"""The environment of the migrations."""

from licet_kit.migrations import run_env

run_env()
