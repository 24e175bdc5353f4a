"""The vocabulary: what OCI content is.  Imports nothing of ours; holds no IO."""
