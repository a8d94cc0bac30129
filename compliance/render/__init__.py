"""Renderings of a report: pure functions of its signed body. They add no fact and leave out no verdict."""
