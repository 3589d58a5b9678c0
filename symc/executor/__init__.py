"""Symbols bound to arrays: the Executor, its programs for each way to run it, and the arrays it holds."""

from .executor import Executor as Executor
