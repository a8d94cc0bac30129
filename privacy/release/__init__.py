"""What leaves: settlement, certificate, the desk that lets it go.

Rules
-----
1. `Outcome -> Settlement -> PrivacyCertificate -> Release`: each asks for the one before.
2. A certificate states nothing that a stranger cannot recompute, and says what it does not cover.
3. A release is held until a door-keeper, or a policy below a ceiling, lets it go.
"""
