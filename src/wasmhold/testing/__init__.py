"""For people who test against registries."""
