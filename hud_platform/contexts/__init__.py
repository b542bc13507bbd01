"""What builds are made from: chunks by their digests, archives, and the folder that a build reads."""
