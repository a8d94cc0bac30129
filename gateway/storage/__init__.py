"""Storage adapters: SQL for what governs, blobs for sealed bytes."""
