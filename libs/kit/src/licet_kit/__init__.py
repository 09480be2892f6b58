"""Technical code that the services share: settings, database, messaging, telemetry, servers, test fixtures.

Holds no domain word. A thing enters when its third user appears.
"""
