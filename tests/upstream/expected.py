"""The upstream tests that do not pass, each with the reason."""

NOT_PASSING: dict[str, str] = {
    "test_symbol::test_eliminate_common_expr": (
        "compares with a graph in which equal nodes are not merged; symc always merges them, and inserts no copies"
    ),
    "test_contrib_control_flow::test_foreach": (
        "gives autograd a gradient of one row more than the head has, which MXNet reads beyond; symc refuses it"
    ),
    "test_ndarray::test_basic_indexing_is_contiguous": "asks a private helper of MXNet's NDArray; symc asks NumPy",
    **{
        f"test_autograd::{test}": "needs sparse arrays; symc stores every array dense"
        for test in (
            "test_unary_func",
            "test_binary_func",
            "test_attach_grad",
            "test_grad_with_stype",
            "test_sparse_dot_grad",
        )
    },
    "test_autograd::test_get_symbol": "a recording keeps operators, not a Symbol",
    "test_gluon_contrib::test_datasets": "needs the texts of WikiText, which are not fetched",
    "test_profiler::test_custom_operator_profiling": "wants nd.zeros to be an operator, which symc does without",
    "test_io::test_NDArrayIter_csr": "needs sparse arrays; symc stores every array dense",
    "test_io::test_LibSVMIter": "asks the data for check_format, which only sparse arrays have",
    "test_gluon_estimator::test_initializer": "downloads trained weights",
    "test_ndarray::test_save_load_scalar_zero_size_ndarrays": "wants errors outside np_shape: symc always has () and 0",
}
