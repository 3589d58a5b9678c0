"""The files of what is above the Symbol, and which of their tests need more than MXNet's dense arrays on one CPU.

Those want sparse arrays, a GPU, downloads or `mx.np`, import another package, or are skipped by MXNet itself. All
others are called clean: 411 of 525, of which symc has to pass 405, and 45 of the rest. A few of the clean ones touch
such a thing, too, in a line that works.
"""

from __future__ import annotations

OTHERS: dict[str, frozenset[str]] = {
    file: frozenset(f"test_{name}" for name in names.split())
    for file, names in {
        "test_gluon": """
            deconv2d_16c batchnorm_16c reshape_conv_reshape_conv slice_conv_reshape_conv reshape_batchnorm
            slice_batchnorm_slice_batchnorm reshape_batchnorm_reshape_batchnorm reshape_batchnorm_slice_batchnorm
            reshape_pooling2d reshape_pooling2d_reshape_pooling2d slice_pooling2d_reshape_pooling2d
            reshape_pooling2d_slice_pooling2d reshape_deconv slice_deconv reshape_deconv_reshape_deconv
            slice_deconv_slice_deconv reshape_deconv_slice_deconv slice_deconv_reshape_deconv
            invalid_parameter_stype invalid_parameter_grad_stype sparse_parameter parameter_row_sparse_data
            sparse_symbol_block sparse_hybrid_block sparse_hybrid_block_grad global_norm_clip embedding split_and_load
            symbol_block export import save_load hybrid_static_memory_recording sync_batchnorm summary split_data_np
            """,
        "test_gluon_rnn": """
            lstmp lstm_cpu_inference layer_bidirectional rnn_layers_fp16 fused_lstm_layer fused_gru_layer
            fused_rnnrelu_layer fused_rnntanh_layer
            """,
        "test_gluon_trainer": """
            multi_trainer trainer_with_sparse_grad_on_single_context trainer_sparse_save_load trainer_multi_layer_init
            trainer_sparse_kv
            """,
        "test_gluon_data": "datasets",
        "test_gluon_data_vision": "",
        "test_gluon_utils": """
            download_retries download_successful multiprocessing_download_successful download_ssl_verify
            """,
        "test_gluon_save": "",
        "test_gluon_model_zoo": "parallel_download",
        "test_gluon_contrib": "datasets",
        "test_gluon_estimator": "initializer val_net",
        "test_gluon_event_handler": "",
        "test_gluon_batch_processor": "",
        "test_loss": "",
        "test_metric": "",
        "test_metric_perf": "metric_performance",
        "test_module": "executor_group factorization_machine_module module_initializer",
        "test_io": "MNISTIter Cifar10Rec inter_methods_in_augmenter image_iter_exception NDArrayIter_csr LibSVMIter",
        "test_recordio": "",
        "test_contrib_io": "contrib_DataLoaderIter",
        "test_image": "imdecode imdecode_bytearray resize_short imresize copyMakeBorder",
        "test_optimizer": "sgd sparse_sgd std_sparse_sgd sgld adam rms ftrl adagrad",
        "test_contrib_optimizer": "group_adagrad",
        "test_init": "rsp_const_init",
        "test_kvstore": """
            single_kv_pair row_sparse_pull list_kv_pair aggregator sparse_aggregator updater invalid_pull
            """,
        "test_kvstore_custom": "",
        "test_rnn": "",
        "test_contrib_control_flow": "",
        "test_autograd": "unary_func binary_func attach_grad grad_with_stype sparse_dot_grad",
        "test_profiler": "custom_operator_profiling_naive_engine",
        "test_exc_handling": "np_reshape_exception np_random_incorrect_named_arguments",
        "test_thread_local": "np_array_scope np_global_shape",
        "test_multi_device_exec": "ctx_group_sparse",
        "test_model_parallel": "chain_type_device",
        "test_contrib_text": "download_embed",
        "test_contrib_svrg_module": """
            module_initializer module_save_load svrgmodule_reshape update_full_grad svrg_with_sgd accumulate_kvstore fit
            """,
        "test_contrib_svrg_optimizer": "",
        "test_contrib_autograd": "",
        "test_contrib_operator": "multibox_target_op op_mrcnn_mask_target",
        "test_higher_order_grad": "",
    }.items()
}
