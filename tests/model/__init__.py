"""The bucket's protocol in every order of its requests, with faults and crashes; see README.md."""
