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
    **{
        f"test_exc_handling::{test}": "wants the error where the result is read; symc raises it at the call"
        for test in ("test_exc_imperative", "test_exc_gluon", "test_exc_post_fail")
    },
    **{
        f"test_exc_handling::{test}": "needs mx.np"
        for test in ("test_np_reshape_exception", "test_np_random_incorrect_named_arguments")
    },
    "test_higher_order_grad::test_arcsinh": "wants x / (x^2 + 1)^1.5, which has the wrong sign",
    **{
        f"test_quantization::{test}": "asks a private helper of calibration"
        for test in (
            "test_smooth_distribution",
            "test_optimal_threshold_adversarial_case",
            "test_get_optimal_thresholds",
        )
    },
    **{
        f"test_operator::{test}": "indexes a NumPy array by a list, which NumPy dropped; passes with a tuple"
        for test in ("test_crop", "test_slice_axis", "test_slice_like", "test_flip", "test_pick")
    },
    "test_operator::test_init": "has NumPy count below 0 in uint8, which it refuses today; passes without that dtype",
    **{
        f"test_operator::{test}": "needs sparse arrays; symc stores every array dense; passes without its parts on CSR"
        for test in ("test_regression", "test_custom_op")
    },
    **{
        f"test_operator::{test}": "wants errors outside np_shape: symc always has extents of 0; passes without these"
        for test in ("test_tile", "test_depthtospace", "test_spacetodepth", "test_zero_size_tensor_creation")
    },
    "test_operator::test_monitor_with_variable_input_shape": (
        "makes an NDArray of a handle of MXNet's C library; passes with the array that symc gives"
    ),
    "test_operator::test_take": "wants the error where the result is read; symc raises it in forward; passes so",
    "test_io::test_NDArrayIter_csr": "needs sparse arrays; symc stores every array dense",
    "test_contrib_svrg_module::test_module_initializer": "needs sparse arrays; symc stores every array dense",
    "test_io::test_LibSVMIter": "asks the data for check_format, which only sparse arrays have",
    "test_gluon_utils::test_download_ssl_verify": "wants a download without a look at certificates, which symc refuses",
    **{
        f"test_gluon::{test}": "needs sparse arrays; symc stores every array dense"
        for test in (
            "test_sparse_parameter",
            "test_parameter_row_sparse_data",
            "test_sparse_hybrid_block",
            "test_global_norm_clip",
            "test_embedding",
            "test_split_and_load",
        )
    },
    "test_gluon::test_split_data_np": "needs mx.np",
    "test_gluon::test_hybrid_static_memory": (
        "normalizes two values a channel of drawn weights, which magnifies rounding; float64 agrees to 1e-8"
    ),
    **{
        f"test_kvstore::{test}": "needs sparse arrays; symc stores every array dense"
        for test in (
            "test_single_kv_pair",
            "test_row_sparse_pull",
            "test_list_kv_pair",
            "test_aggregator",
            "test_sparse_aggregator",
            "test_updater",
            "test_invalid_pull",
        )
    },
    **{
        f"test_optimizer::{test}": "needs sparse arrays; symc stores every array dense"
        for test in (
            "test_sgd",
            "test_sparse_sgd",
            "test_std_sparse_sgd",
            "test_adam",
            "test_rms",
            "test_ftrl",
            "test_adagrad",
        )
    },
    "test_contrib_optimizer::test_group_adagrad": "needs sparse arrays; symc stores every array dense",
    **{f"test_thread_local::{test}": "needs mx.np" for test in ("test_np_array_scope", "test_np_global_shape")},
    **{
        f"test_module::{test}": "needs sparse arrays; symc stores every array dense"
        for test in ("test_factorization_machine_module", "test_module_initializer")
    },
    "test_module::test_executor_group": "asks a group of executors for the buffers that its executors share",
    "test_ndarray::test_save_load_scalar_zero_size_ndarrays": "wants errors outside np_shape: symc always has () and 0",
}
