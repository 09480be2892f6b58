"""Tables and queries of licensing; rows in, domain types out.

Locks are always taken in this order, each class sorted by its key, so that no two transactions can wait for each other:
lease requests, accounts, subjects (facts of one token or deposit), grants, leases, then the outbox.
"""
