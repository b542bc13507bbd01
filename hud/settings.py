"""What is configured: a key, and the addresses of a platform's services."""
