"""Sentence embeddings: the mean of a text's token vectors."""
