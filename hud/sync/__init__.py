"""Task rows here against task rows on a platform: what to create, to update, to leave alone."""
