"""What a build gets: the recipe of a folder, the files that belong to it, and their manifest of digests."""
