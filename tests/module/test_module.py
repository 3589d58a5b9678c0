"""`Module`: trained parameters, scores and predictions are MXNet's (the expected numbers are recorded from it)."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

import symc as mx

S = mx.sym
RNG = np.random.RandomState(0)
X = RNG.normal(size=(50, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")


def network():
    x = S.FullyConnected(S.Variable("data"), num_hidden=8, name="fc1")
    x = S.Activation(S.BatchNorm(x, name="bn"), act_type="relu")
    return S.SoftmaxOutput(S.FullyConnected(x, num_hidden=2, name="fc2"), name="softmax")


def weights():
    """Parameters and states for the recorded run."""
    rng, net = np.random.RandomState(1), network()
    shapes, _, aux_shapes = net.infer_shape(data=(10, 6))
    named = [(n, s) for n, s in zip(net.list_arguments(), shapes) if n not in ("data", "softmax_label")]
    args = {n: mx.nd.array(rng.normal(size=s) * 0.3) for n, s in named}
    aux = {n: mx.nd.full(s, float("var" in n)) for n, s in zip(net.list_auxiliary_states(), aux_shapes)}
    return args, aux


def batches(size):
    return mx.io.NDArrayIter(X, Y, size)


def bound(**options):
    module = mx.mod.Module(network(), **options)
    module.bind([("data", (10, 6))], [("softmax_label", (10,))])
    return module


def ready(**options):
    module = bound(**options)
    module.init_params(None, *weights())
    module.init_optimizer(optimizer_params={"learning_rate": 1.0})
    return module


def sums(module):
    args, aux = module.get_params()
    return {n: round(float(a.asnumpy().astype("f8").sum()), 3) for n, a in {**args, **aux}.items() if n != "bn_gamma"}


def given(shape):
    bound().init_params(arg_params={"fc1_weight": mx.nd.ones(shape)}, allow_missing=True)


SGD = ("sgd", {"learning_rate": 0.1, "momentum": 0.9})
# After two epochs: sums of parameters, cross entropy of each epoch, sums of the predictions.
ONE = (
    {
        "bn_beta": 0.701, "bn_moving_mean": -0.099, "bn_moving_var": 5.746, "fc1_bias": -0.129, "fc1_weight": 0.343,
        "fc2_bias": 0.375, "fc2_weight": 0.312,
    },
    [0.647763, 0.493027, 0.364390, 0.267711],
)  # fmt: skip


def test_fit_trains_logs_and_calls_back(caplog):
    caplog.set_level(logging.INFO)
    module = mx.mod.Module(network())
    seen = []
    module.fit(
        batches(10), batches(20), ["acc", "ce"], optimizer=SGD[0], optimizer_params=SGD[1], num_epoch=2,
        arg_params=weights()[0], aux_params=weights()[1],
        batch_end_callback=lambda p: seen.append((p.epoch, p.nbatch, p.locals["self"] is module)),
        epoch_end_callback=[lambda e, s, args, aux: seen.append((e, s is module.symbol, len(args), len(aux)))],
        eval_end_callback=lambda p: seen.append((p.epoch, p.nbatch)),
    )  # fmt: skip
    assert sums(module) == pytest.approx(ONE[0], abs=2e-3)
    logged = [r.getMessage() for r in caplog.records]
    losses = [float(text.split("=")[1]) for text in logged if "cross-entropy" in text]
    assert losses == pytest.approx(ONE[1], abs=1e-5)
    assert [text.split("=")[0] for text in logged[:5]] == [
        "Epoch[0] Train-accuracy", "Epoch[0] Train-cross-entropy", "Epoch[0] Time cost", "Epoch[0] Validation-accuracy",
        "Epoch[0] Validation-cross-entropy",
    ]  # fmt: skip
    epoch = [(0, k, True) for k in range(5)]
    assert seen[:7] == [*epoch, (0, True, 6, 2), (0, 3)] and seen[7:12] == [(1, *rest) for _, *rest in epoch]


def test_fit_refuses_data_that_is_used_up():
    data = batches(20)
    list(data)
    with pytest.raises(StopIteration, match="fit: the training data has no batch to begin epoch 0 with; reset"):
        mx.mod.Module(network()).fit(data, num_epoch=1)


def test_scores_count_what_fills_a_batch_and_predictions_do_not():
    module = ready()
    ((_, accuracy),) = module.score(batches(20), "acc")  # 60 samples
    whole = module.predict(batches(20))
    assert whole.shape == (50, 2)
    hits = whole.asnumpy().argmax(1) == Y
    assert accuracy == pytest.approx((hits.sum() + hits[:10].sum()) / 60)
    parts = module.predict(batches(20), merge_batches=False)
    assert [out.shape for (out,) in parts] == [(20, 2), (20, 2), (10, 2)]
    assert len(module.predict(batches(20), always_output_list=True)) == 1
    assert module.predict(batches(20), num_batch=1).shape == (20, 2)
    np.testing.assert_allclose(module.predict(mx.nd.array(X[:7])).asnumpy(), whole.asnumpy()[:7], rtol=1e-5)
    np.testing.assert_allclose(module.predict(X[:7]).asnumpy(), whole.asnumpy()[:7], rtol=1e-5)
    assert [(out[0].shape[0], n) for out, n, _ in module.iter_predict(batches(20))] == [(20, 0), (20, 1), (10, 2)]


@pytest.mark.parametrize("kvstore", ["local", "device", None])
def test_contexts_share_a_batch(kvstore):
    """BatchNorm apart, two contexts compute what one does; a network without shows it."""
    net = S.SoftmaxOutput(S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc"), name="softmax")
    found = []
    for context, store in ((mx.cpu(), "local"), ([mx.cpu(0), mx.cpu(1)], kvstore or mx.kv.create("local"))):
        module = mx.mod.Module(net, context=context)
        first = {"fc_weight": mx.nd.ones((2, 6)), "fc_bias": mx.nd.zeros(2)}
        chosen = {"optimizer_params": {"learning_rate": 0.5, "momentum": 0.9}, "kvstore": store, "num_epoch": 2}
        module.fit(batches(10), arg_params=first, **chosen)
        found.append(module.get_params()[0]["fc_weight"].asnumpy())
        assert len(module.get_outputs(merge_multi_context=False)[0]) == (1 if context == mx.cpu() else 2)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_uneven_contexts_and_their_limits():
    module = bound(context=[mx.cpu(0), mx.cpu(1)], work_load_list=[1, 4])
    module.init_params()
    module.forward(mx.io.DataBatch([mx.nd.array(X[:10])], [mx.nd.array(Y[:10])]))
    assert [o.shape for o in module.get_outputs(merge_multi_context=False)[0]] == [(2, 2), (8, 2)]
    with pytest.raises(ValueError, match="Some splits are empty"):
        mx.mod.Module(network(), label_names=None, context=[mx.cpu(k) for k in range(3)]).bind([("data", (2, 6))])


def test_a_batch_of_another_shape_is_bound_anew_with_the_same_parameters():
    module = ready()
    module.forward_backward(mx.io.DataBatch([mx.nd.array(X[:4])], [mx.nd.array(Y[:4])]))
    module.update()
    assert module.data_shapes[0].shape == (4, 6) and module.output_shapes == [("softmax_output", (4, 2))]
    changed = sums(module)
    module.forward(mx.io.DataBatch([mx.nd.array(X[:10])]), is_train=False)
    assert module.label_shapes[0].shape == (10,) and sums(module) == changed
    module.reshape([("data", (3, 6))], [("softmax_label", (3,))])
    assert module.data_shapes[0].shape == (3, 6)
    for refused in ((3, 5), (4, 6)):  # parameters would change, labels are of another batch
        with pytest.raises(mx.MXNetError, match=r"would change|same batch size"):
            module.reshape([("data", refused)], [("softmax_label", (3,))])
        assert module.data_shapes[0].shape == (3, 6) and module._exec_group.data_shapes == module.data_shapes
        assert module._exec_group.batch_size == 3 and module._exec_group.slices == [slice(0, 3)]


def test_gradients_of_data_and_fixed_parameters():
    module = mx.mod.Module(network(), fixed_param_names=["fc1_weight"])
    module.bind([("data", (10, 6))], [("softmax_label", (10,))], inputs_need_grad=True)
    module.init_params(None, *weights())
    module.init_optimizer(optimizer_params={"learning_rate": 1.0, "wd": 0.1})
    before = sums(module)
    module.forward_backward(mx.io.DataBatch([mx.nd.array(X[:10])], [mx.nd.array(Y[:10])]))
    module.update()
    after = sums(module)
    assert after["fc1_weight"] == before["fc1_weight"] and after["fc2_weight"] != before["fc2_weight"]
    assert module.get_input_grads()[0].shape == (10, 6) and np.abs(module.get_input_grads()[0].asnumpy()).max() > 0


def test_a_module_that_predicts_has_no_way_back():
    module = mx.mod.Module(network())
    module.bind([("data", (10, 6))], [("softmax_label", (10,))], for_training=False)
    module.init_params()
    module.forward(mx.io.DataBatch([mx.nd.array(X[:10])]))
    with pytest.raises(AssertionError, match="re-bind with for_training=True to run backward"):
        module.backward()


def test_states_are_kept_between_batches():
    h = S.Variable("h") + S.Variable("data") * S.Variable("w")
    module = mx.mod.Module(S.Group([S.BlockGrad(h), S.MakeLoss(h)]), label_names=None, state_names=["h"])
    module.bind([("data", (2, 3))], for_training=False)
    module.init_params(mx.init.One(), arg_params={"w": mx.nd.ones((2, 3))})
    with pytest.raises(AssertionError, match="either states or a value"):
        module.set_states()
    module.set_states(value=0)
    batch = mx.io.DataBatch([mx.nd.ones((2, 3))])
    for k in range(3):
        module.forward(batch)
        out = module.get_outputs(merge_multi_context=False)[:1]
        module.set_states(states=out)
        assert (module.get_states()[0].asnumpy() == k + 1).all()


def test_checkpoints_with_states_go_on_where_they_stopped(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    prefix = str(tmp_path / "net")

    def trained(n_epochs, **options):
        module = mx.mod.Module(network())
        module.fit(batches(10), optimizer=SGD[0], optimizer_params=SGD[1], num_epoch=n_epochs, arg_params=weights()[0],
                   aux_params=weights()[1], **options)  # fmt: skip
        return module

    at_once = trained(2)
    trained(1, epoch_end_callback=None).save_checkpoint(prefix, 1, save_optimizer_states=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-0001.params", "net-0001.states", "net-symbol.json"]
    assert f'Saved optimizer state to "{prefix}-0001.states"' in caplog.text
    module = mx.mod.Module.load(prefix, 1, load_optimizer_states=True)
    module.bind([("data", (10, 6))], [("softmax_label", (10,))])
    saved = sums(module)
    with pytest.warns(UserWarning, match="init_params call ignored"):
        module.fit(batches(10), optimizer=SGD[0], optimizer_params=SGD[1], begin_epoch=1, num_epoch=2)
    assert sums(module) == pytest.approx(sums(at_once), abs=1e-4)
    other = bound()
    other.load_params(f"{prefix}-0001.params")
    assert sums(other) == saved


def test_a_loaded_module_has_its_parameters_before_it_is_bound(tmp_path):
    trained, prefix = ready(), str(tmp_path / "net")
    trained.save_checkpoint(prefix, 1)
    loaded = mx.mod.Module.load(prefix, 1)
    assert sums(loaded) == sums(trained)
    loaded.save_checkpoint(prefix, 2)
    assert sums(mx.mod.Module.load(prefix, 2)) == sums(trained)


def test_parameters_given_missing_and_too_many():
    args, aux = weights()
    module = bound()
    with pytest.raises(RuntimeError, match="bn_beta is not presented"):
        module.init_params(arg_params={"fc1_weight": args["fc1_weight"]})
    module.init_params(arg_params={**args, "of_another_net": mx.nd.ones(1)}, aux_params=aux)
    with pytest.warns(UserWarning, match="init_params call ignored"):
        module.init_params()
    module.set_params({"fc1_bias": mx.nd.ones(8)}, {}, allow_missing=True)
    assert sums(module)["fc1_bias"] == 8
    with pytest.raises(ValueError, match='Find name "zz"'):
        module.set_params({"zz": mx.nd.ones(8)}, {}, allow_missing=True)
    module.set_params({"zz": mx.nd.ones(8)}, {}, allow_missing=True, allow_extra=True)


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (lambda: mx.mod.Module(network(), data_names=["x"]), ValueError, "input with name 'x' is not found"),
        (lambda: mx.mod.Module(network(), fixed_param_names=["x"]), ValueError, "fixed_param_names"),
        (lambda: mx.mod.Module(network(), context=mx.cpu(), work_load_list=[1, 2]), AssertionError, "2 work loads"),
        (lambda: mx.mod.Module(network()).init_params(), AssertionError, "call bind"),
        (
            lambda: mx.mod.Module(network()).bind([("x", (1, 2))]),
            ValueError,
            "don't match names specified by data_names",
        ),
        (lambda: given((1, 6)), mx.SymcError, "fc1_weight has shape .1, 6., expected .8, 6."),
        (lambda: given((6, 8)), mx.SymcError, "fc1_weight has shape .6, 8., expected .8, 6."),
        (
            lambda: ready().forward(mx.io.DataBatch([mx.nd.ones((10, 5))], [mx.nd.ones(10)])),
            mx.SymcError,
            "fc1_weight would change from .8, 6. to .8, 5.",
        ),
        (lambda: ready().reshape([("data", (4, 7))]), mx.SymcError, "would change from .8, 6. to .8, 7."),
        (lambda: bound().forward(None), AssertionError, "call init_params"),
        (lambda: bound().get_params(), AssertionError, "call init_params"),
        (
            lambda: ready().init_optimizer(optimizer=3, force_init=True),
            AssertionError,
            "a name or an Optimizer, got int",
        ),
        (lambda: ready().get_input_grads(), AssertionError, "inputs_need_grad=True"),
        (lambda: ready().fit(batches(10)), AssertionError, "please specify number of epochs"),
        (lambda: ready().init_optimizer(kvstore="dist_async", force_init=True), mx.SymcError, "no servers"),
        (lambda: mx.mod.Module(network(), compression_params={"type": "2bit"}), mx.SymcError, "gradient compression"),
    ],
)
def test_steps_in_the_wrong_order_and_wrong_names(step, error, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=text):
            step()


def test_an_optimizer_made_by_hand_and_repeated_binding(caplog):
    module = bound()
    module.bind([("data", (10, 6))])
    assert "Already bound, ignoring bind()" in caplog.text
    module.init_params(None, *weights())
    optimizer = mx.optimizer.SGD(learning_rate=0.1)
    with pytest.warns(UserWarning, match=r"rescale_grad is not normalized .* \(1.0 vs. 0.1\)"):
        module.init_optimizer(optimizer=optimizer)
    assert optimizer.idx2name[1] == "fc1_bias"
    module.bind([("data", (5, 6))], [("softmax_label", (5,))], force_rebind=True)
    assert module.data_shapes[0].shape == (5, 6) and sums(module) == sums(ready())


def test_a_monitor_sees_what_is_computed(caplog):
    caplog.set_level(logging.INFO)
    module = mx.mod.Module(network())
    monitor = mx.mon.Monitor(2, lambda a: [a.sum(), a.max()], pattern="fc2.*", sort=True)
    module.fit(batches(25), num_epoch=1, monitor=monitor)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Batch:")]
    assert lines[0].startswith(f"Batch: {1:7d} {'fc2_backward_output0':30s} ") and lines[0].endswith("\t")
    assert {line.split()[2] for line in lines} == {
        "fc2_output", "fc2_weight", "fc2_bias", "fc2_backward_output0", "fc2_backward_output1", "fc2_backward_output2",
    }  # fmt: skip


def test_a_monitor_stays_with_batches_of_other_shapes():
    seen = []
    module = mx.mod.Module(mx.sym.abs(mx.sym.Variable("data"), name="abs"), label_names=None)
    module.bind([("data", (2, 3))], for_training=False)
    module.init_params()
    module._exec_group.execs[0].set_monitor_callback(lambda name, a: seen.append((name, a.shape)), monitor_all=True)
    for shape in ((2, 3), (4, 3)):
        module.forward(mx.io.DataBatch([mx.nd.ones(shape)]), is_train=False)
    assert seen == [(name, shape) for shape in ((2, 3), (4, 3)) for name in ("data", "abs_input0", "abs_output")]


def test_a_monitors_default_statistic():
    monitor = mx.mon.Monitor(1, pattern=".*x$")
    net = S.BatchNorm(S.Variable("x"), moving_mean=S.Variable("state_x"), name="bn")
    executor = net.simple_bind(mx.cpu(), x=(2, 1))
    executor.arg_dict["x"][:] = mx.nd.array([[3.0], [4.0]])
    monitor.install(executor)
    assert monitor.toc() == []
    monitor.tic()
    executor.forward()
    found = [(1, "x", f"{np.float32(5 / 2**0.5)!s}\t"), (1, "state_x", "0.0\t")]  # with as many digits as a float32 has
    assert monitor.toc() == found
    wrong = mx.mon.Monitor(1, lambda a: 3, pattern="x$")
    wrong.install(executor)
    wrong.tic()
    with pytest.raises(AssertionError, match="stat_func gave 3"):
        wrong.toc()
