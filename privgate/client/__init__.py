"""The wire: HTTPS with a pinned authority, problem documents as typed errors, event streams that resume."""
