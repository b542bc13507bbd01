"""HTTP to a platform. Only this module imports `httpx`."""
