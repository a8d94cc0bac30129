"""The key holder: makes one key for a job, adds the sites' signed uploads itself, decrypts once for each round."""
