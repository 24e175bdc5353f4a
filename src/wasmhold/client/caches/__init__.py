"""Caches of what registries have: in memory, on disk, in an object store."""
