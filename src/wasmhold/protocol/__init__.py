"""The Distribution API as pure functions, both directions.

server:  Request ─ read ─► Operation …  Result ─ write ─► Response
client:  Operation ─ write_request ─► Request …  Response ─ read_response ─► Result
"""

from .errors import read_error, write_error
from .messages import Request, Response
from .operations import Operation
from .read_request import read
from .read_response import read_response
from .results import Result
from .write_request import write_request
from .write_response import write

__all__ = [
    "Operation",
    "Request",
    "Response",
    "Result",
    "read",
    "read_error",
    "read_response",
    "write",
    "write_error",
    "write_request",
]
