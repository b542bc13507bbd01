"""Task rows: how they arrive, are checked, stored, read back, and go back to an earlier revision."""
