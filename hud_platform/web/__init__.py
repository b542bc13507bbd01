"""How requests are answered: the application, one shape of error, lists, pages and counts."""
