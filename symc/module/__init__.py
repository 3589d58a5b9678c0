"""`mx.module` (`mx.mod`): symbols with parameters and an optimizer, and how they are trained."""

from . import base_module, bucketing_module, executor_group, module
from .base_module import BaseModule
from .bucketing_module import BucketingModule
from .executor_group import DataParallelExecutorGroup
from .module import Module

__all__ = [
    "BaseModule", "BucketingModule", "DataParallelExecutorGroup", "Module", "base_module", "bucketing_module",
    "executor_group", "module",
]  # fmt: skip
