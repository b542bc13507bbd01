"""Where a platform keeps what it knows: the data folder, the database, secrets, backups, and what may go."""
