"""A store in a directory, where every repository is an OCI image layout."""
