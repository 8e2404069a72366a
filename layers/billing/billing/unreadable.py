"""The net under each row, title and text: what one of them raises is said of it, and the others go on.

It is spread only around what is computed from one row. What a store, Omie or Jestor raises is the company's business
and passes through: none of those errors is a `DATA_ERRORS`.
"""

import logging
from typing import Final

DATA_ERRORS: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    AssertionError,
)
"""What a value of an unexpected shape makes a computation raise."""

_LOGGER: Final = logging.getLogger("billing.unreadable")


def note(what: str, error: BaseException) -> str:
    """Logs which row it was, the error's class and the line that raised it; never its text, which may quote the row.

    Answers the class's name.
    """
    kind = type(error).__name__
    place = "?"
    trace = error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    _LOGGER.error("unreadable: %s (%s at %s)", what, kind, place)
    return kind
