"""The HTTP edge: routes, request models, problem documents. No rule of the domain lives here."""
