"""`mx.module` (`mx.mod`): symbols with parameters and an optimizer, and how they are trained."""

from . import base_module, bucketing_module, executor_group, module, python_module, sequential_module
from .base_module import BaseModule
from .bucketing_module import BucketingModule
from .executor_group import DataParallelExecutorGroup
from .module import Module
from .python_module import PythonLossModule, PythonModule
from .sequential_module import SequentialModule

__all__ = [
    "BaseModule", "BucketingModule", "DataParallelExecutorGroup", "Module", "PythonLossModule", "PythonModule",
    "SequentialModule", "base_module", "bucketing_module", "executor_group", "module", "python_module",
    "sequential_module",
]  # fmt: skip
