"""HTTP as the client sees it: one request, one answer, blocking."""

from .http import HttpTransport, Options
from .port import Answer, Readable, Transport
from .reach import Reach

__all__ = ["Answer", "HttpTransport", "Options", "Reach", "Readable", "Transport"]
