"""`mx.log`: loggers whose lines begin with level, time, process and place."""

from __future__ import annotations

import logging
import warnings

CRITICAL, ERROR, WARNING, INFO, DEBUG, NOTSET = (
    logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, logging.NOTSET,
)  # fmt: skip
RED, GREEN, BLUE, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[34m", "\x1b[0m"


class _Formatter(logging.Formatter):
    """`I0505 00:29:47 3525 file.py:function:12] message`, the front in a colour that tells the level."""

    def __init__(self) -> None:
        super().__init__(datefmt="%m%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        colour = RED if record.levelno >= WARNING else GREEN if record.levelno >= INFO else BLUE
        letter = record.levelname[0] if record.levelno in (CRITICAL, ERROR, WARNING, INFO, DEBUG) else "U"
        place = f"{record.process} {record.pathname}:{record.funcName}:{record.lineno}"
        front = f"{colour}{letter}{self.formatTime(record, self.datefmt)} {place}]{PLAIN}"
        return f"{front} {record.getMessage()}"


def get_logger(
    name: str | None = None, filename: str | None = None, filemode: str | None = None, level: int = WARNING
) -> logging.Logger:
    """A logger that writes to a file (appending, unless `filemode` says otherwise) or to stderr, as first asked for.

    Without a name it is the root logger, as it is.
    """
    logger = logging.getLogger(name)
    if name is None or getattr(logger, "_init_done", False):
        return logger
    logger._init_done = True  # type: ignore[attr-defined]  # MXNet's mark
    if filename:
        handler: logging.Handler = logging.FileHandler(filename, filemode or "a")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    logger.setLevel(level)
    return logger


def getLogger(
    name: str | None = None, filename: str | None = None, filemode: str | None = None, level: int = WARNING
) -> logging.Logger:
    """`get_logger` under its old name."""
    warnings.warn("getLogger is deprecated, Use get_logger instead.", DeprecationWarning, stacklevel=2)
    return get_logger(name, filename, filemode, level)
