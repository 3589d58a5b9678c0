"""`mx.test_utils`: random arrays, comparisons, and checks of symbols, under the names of MXNet 1.9.

`from symc.test_utils import *` brings `mx`, `np` and what else MXNet's own tests take from there.
"""

import json
import logging
import numbers
import os
import platform
import struct
import sys
import time
import traceback
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import numpy.random as rnd
import numpy.testing as npt

import symc as mx
from symc.context import Context, current_context
from symc.ndarray import array
from symc.runtime import Features
from symc.symbol import Symbol
from symc.util import getenv, setenv

from .checks import (
    check_numeric_gradient,
    check_speed,
    check_symbolic_backward,
    check_symbolic_forward,
    numeric_grad,
    same_symbol_structure,
    simple_forward,
)
from .compare import (
    almost_equal,
    assert_allclose,
    assert_almost_equal,
    assert_almost_equal_ignore_nan,
    assert_almost_equal_with_err,
    assert_exception,
    checkShapes,
    collapse_sum_like,
    compare_ndarray_tuple,
    default_atols,
    default_numeric_eps,
    default_rtols,
    effective_dtype,
    get_atol,
    get_etol,
    get_rtol,
    get_tolerance,
    get_tols,
    np_reduce,
    retry,
    same,
    same_array,
)
from .consistency import check_consistency
from .data import (
    download,
    download_model,
    get_bz2_data,
    get_cifar10,
    get_im2rec_path,
    get_mnist,
    get_mnist_iterator,
    get_mnist_pkl,
    get_mnist_ubyte,
    get_zip_data,
)
from .distributions import (
    chi_square_check,
    gen_buckets_probs_with_ppf,
    mean_check,
    var_check,
    verify_generator,
)
from .draw import (
    DummyIter,
    assign_each,
    assign_each2,
    create_2d_tensor,
    create_vector,
    rand_coord_2d,
    rand_ndarray,
    rand_shape_2d,
    rand_shape_3d,
    rand_shape_nd,
    random_arrays,
    random_sample,
    random_uniform_arrays,
)
from .optimizers import compare_optimizer
from .scopes import (
    default_context,
    default_dtype,
    discard_stderr,
    environment,
    is_aarch64_run,
    is_cd_run,
    list_gpus,
    set_default_context,
    use_np,
    use_np_array,
    use_np_shape,
)

__all__ = [
    "download", "download_model", "get_bz2_data", "get_cifar10", "get_im2rec_path", "get_mnist", "get_mnist_iterator",
    "get_mnist_pkl", "get_mnist_ubyte", "get_zip_data",
    "Context", "DummyIter", "Features", "OrderedDict", "Symbol", "almost_equal", "array", "assert_allclose",
    "assert_almost_equal", "assert_almost_equal_ignore_nan", "assert_almost_equal_with_err", "assert_exception",
    "assign_each", "assign_each2", "checkShapes", "check_consistency", "check_numeric_gradient", "check_speed",
    "check_symbolic_backward", "check_symbolic_forward", "chi_square_check", "collapse_sum_like",
    "compare_ndarray_tuple", "compare_optimizer", "contextmanager", "create_2d_tensor", "create_vector",
    "current_context", "default_atols", "default_context", "default_dtype", "default_numeric_eps", "default_rtols",
    "discard_stderr", "effective_dtype", "environment", "gen_buckets_probs_with_ppf", "get_atol", "get_etol",
    "get_rtol", "get_tolerance", "get_tols", "getenv", "is_aarch64_run", "is_cd_run", "json", "list_gpus", "logging",
    "mean_check", "mx", "np", "np_reduce", "npt", "numbers", "numeric_grad", "os", "platform", "rand_coord_2d",
    "rand_ndarray", "rand_shape_2d", "rand_shape_3d", "rand_shape_nd", "random_arrays", "random_sample",
    "random_uniform_arrays", "retry", "rnd", "same", "same_array", "same_symbol_structure", "set_default_context",
    "setenv", "simple_forward", "struct", "sys", "time", "traceback", "use_np", "use_np_array", "use_np_shape",
    "var_check", "verify_generator",
]  # fmt: skip
