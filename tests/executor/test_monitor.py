"""What a monitor is told: names and order as MXNet has them, values those of the run it watches."""

from __future__ import annotations

import numpy as np

import symc as mx

S = mx.sym


def monitored(monitor_all: bool):
    """An executor of a network with hidden outputs and random numbers, and the list of (name, value) it reports."""
    net = S.Convolution(S.Variable("data"), kernel=(3, 3), num_filter=2, pad=(1, 1), name="conv")
    net = S.Activation(S.BatchNorm(net, name="bn", fix_gamma=False), act_type="relu", name="act")
    net = S.split(S.Dropout(net, p=0.5, name="drop"), num_outputs=2, axis=1, name="sp")
    with mx.name.NameManager():  # numbers names from 0
        net = net[0] + net[1] * 2
    net = S.SoftmaxOutput(S.FullyConnected(net, num_hidden=3, name="fc"), name="softmax")
    ex = net.simple_bind(mx.cpu(), data=(2, 1, 4, 4))
    for name, array in ex.arg_dict.items():
        array[:] = np.random.RandomState(len(name)).normal(size=array.shape)
    seen: list[tuple[str, np.ndarray]] = []
    ex.set_monitor_callback(lambda name, array: seen.append((name, array.asnumpy())), monitor_all)
    return ex, seen


def test_a_monitor_sees_every_result_and_every_gradient():
    """Names and order are MXNet's, but for split, whose gradient is called sp_backward_data there."""
    ex, seen = monitored(False)
    ex.forward(is_train=True)
    results = """conv_output bn_output bn_mean bn_var act_output drop_output drop_mask sp_output0 sp_output1
        _mulscalar0_output _plus0_output fc_output softmax_output""".split()
    assert [name for name, _ in seen] == results
    ex.backward()
    assert (
        [name for name, _ in seen[len(results) :]]
        == """softmax_backward_output0 softmax_backward_output1 fc_backward_output0
        fc_backward_output1 fc_backward_output2 _mulscalar0_backward_output sp_backward_output drop_backward_output
        act_backward_output bn_backward_output0 bn_backward_output1 bn_backward_output2 conv_backward_output0
        conv_backward_output1 conv_backward_output2""".split()
    )
    ex, seen = monitored(True)
    ex.forward(is_train=False)
    assert (
        [name for name, _ in seen][:21]
        == """data conv_data conv_weight conv_weight conv_bias conv_bias conv_output
        bn_data bn_gamma bn_gamma bn_beta bn_beta bn_moving_mean bn_moving_mean bn_moving_var bn_moving_var bn_output
        bn_mean bn_var act_input0 act_output""".split()
    )


def test_inputs_have_mxnets_names():
    x, seen = S.Variable("x"), []
    net = S.amp_multicast(
        S.diag(S.LRN(x, nsize=1, name="lrn"), name="diag"), S.abs(x, name="abs"), num_outputs=2, name="c"
    )
    executor = net.simple_bind(mx.cpu(), grad_req="null", x=(2, 3, 3, 3))
    executor.set_monitor_callback(lambda name, _: seen.append(name), monitor_all=True)
    executor.forward()
    told = {"x", "lrn_data", "lrn_output", "lrn_tmp_norm", "diag_data", "diag_output", "abs_input0", "abs_output"}
    assert {*seen} == told | {"c_data_0", "c_data_1", "c_output0", "c_output1"}


def test_a_monitor_reports_the_run_itself():
    ex, seen = monitored(False)
    (out,) = ex.forward(is_train=True)
    ex.backward()
    found = dict(seen)
    np.testing.assert_array_equal(found["softmax_output"], out.asnumpy())
    np.testing.assert_array_equal(found["drop_output"], found["act_output"] * found["drop_mask"])
    for told, name in (
        ("fc_backward_output1", "fc_weight"),
        ("conv_backward_output1", "conv_weight"),
        ("conv_backward_output0", "data"),
    ):
        np.testing.assert_allclose(found[told], ex.grad_dict[name].asnumpy(), rtol=1e-4, atol=1e-5)
    hidden = found["fc_output"] @ np.eye(3)
    np.testing.assert_allclose(out.asnumpy(), np.exp(hidden) / np.exp(hidden).sum(1, keepdims=True), rtol=1e-5)


def test_a_monitor_changes_no_random_number():
    results = []
    for is_watched in (False, True):
        ex, _ = monitored(False)
        if not is_watched:
            ex._monitor = None
        mx.random.seed(7)
        outs = [ex.forward(is_train=True)[0].asnumpy() for _ in range(2)]
        results.append([*outs, mx.nd.random.uniform(shape=(3,)).asnumpy()])
    for without, watched in zip(*results):
        np.testing.assert_array_equal(without, watched)


def test_gradients_are_told_by_the_position_of_the_input():
    """Also of a layer whose data want none: MXNet tells whatever its memory holds for these, symc zeros."""
    net = S.LinearRegressionOutput(S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc"), name="loss")
    reqs = {"data": "null", "fc_weight": "write", "fc_bias": "write", "loss_label": "null"}
    ex = net.simple_bind(mx.cpu(), reqs, data=(3, 4))
    seen: dict[str, np.ndarray] = {}
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.asnumpy()}))
    ex.forward(is_train=True, data=np.ones((3, 4)), loss_label=np.ones((3, 2)))
    ex.backward()
    numbers = {"loss": (0, 1), "fc": (0, 1, 2)}
    assert {n for n in seen if "backward" in n} == {f"{n}_backward_output{k}" for n, ks in numbers.items() for k in ks}
    np.testing.assert_array_equal(seen["fc_backward_output1"], ex.grad_dict["fc_weight"].asnumpy())
    np.testing.assert_array_equal(seen["fc_backward_output2"], ex.grad_dict["fc_bias"].asnumpy())
    assert not seen["fc_backward_output0"].any() and not seen["loss_backward_output1"].any()


def test_a_monitor_is_told_of_head_gradients():
    """Of a network without a loss the way back begins with what `backward` is given."""
    net = S.square(S.FullyConnected(S.Variable("data"), num_hidden=2, no_bias=True, name="fc"), name="sq")
    ex = net.simple_bind(mx.cpu(), data=(3, 4))
    ex.arg_dict["fc_weight"][:] = 0.5
    seen: dict[str, np.ndarray] = {}
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.asnumpy()}))
    ex.forward(is_train=True, data=np.ones((3, 4)))
    head = np.arange(6.0).reshape(3, 2)
    ex.backward(mx.nd.array(head))
    np.testing.assert_allclose(seen["sq_backward_output"], 2 * 2 * head)
    np.testing.assert_allclose(seen["fc_backward_output0"], np.repeat(2 * 2 * head.sum(1, keepdims=True) * 0.5, 4, 1))
