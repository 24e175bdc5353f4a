"""What listens.  `application` needs no socket; the rest are edges around it."""
