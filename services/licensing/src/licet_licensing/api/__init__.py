"""Edges that others call: REST for people and services, gRPC for gateway workers."""
