"""From a context to a version of an environment: the queue, the build, its log, the smoke start, the registry."""
