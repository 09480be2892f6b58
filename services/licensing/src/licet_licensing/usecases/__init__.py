"""What licensing does: follow the chain, lend, count use, tidy up, and know its accounts.

Each verb works in the session that its edge opened; none commits.
"""
