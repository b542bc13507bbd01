"""Who may do what: keys, the check of every request, and logins through a browser."""
