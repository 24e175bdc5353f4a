"""HTTP as the client sees it: one request, one answer, blocking."""

from .http import HttpTransport, Options
from .port import Answer, Readable, Transport

__all__ = ["Answer", "HttpTransport", "Options", "Readable", "Transport"]
