"""Launchers: where a task's confined child runs. They execute; they never decide, charge or sign."""
