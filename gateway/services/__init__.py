"""Use cases, one per file: each takes its collaborators as arguments, decides, and commits its own work."""
