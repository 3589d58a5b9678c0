"""Parameter sets of layers: products, windows, norms, losses, recurrent ones, sampling and regions."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from tests.ops.cases import Case, Shape

from .draw import FLOATS, Draw, Generator

SINGLE = ("float32", "float64")


def fully_connected(d: Draw) -> Case:
    shape, n = d.shape(2, 4, 200), d.extent()
    flatten, no_bias = d.chance(0.6), d.chance(0.4)
    depth = int(np.prod(shape[1:])) if flatten else shape[-1]
    shapes = (shape, (n, depth)) if no_bias else (shape, (n, depth), (n,))
    return d.case(*shapes, dtypes=FLOATS, num_hidden=n, flatten=flatten, no_bias=no_bias)


def dot(d: Draw) -> Case:
    if d.chance(0.2):
        n = d.extent()
        shapes: Any = d.pick([((n,), (n,)), ((3, n), (n,)), ((2, 3, n), (n, 4)), ((n,), (n, 4))])
        return d.case(*shapes, dtypes=FLOATS, transpose_a=False, transpose_b=False)
    n, k, m = d.extent(), d.extent(), d.extent()
    ta, tb = d.chance(0.5), d.chance(0.5)
    lead = (d.extent(),) if d.op == "batch_dot" else ()
    lhs, rhs = ((k, n) if ta else (n, k)), ((m, k) if tb else (k, m))
    return d.case(lead + lhs, lead + rhs, dtypes=FLOATS, transpose_a=ta, transpose_b=tb)


def batch_dot(d: Draw) -> Case:
    n, k, m = d.extent(), d.extent(), d.extent()
    ta, tb, lead = d.chance(0.5), d.chance(0.5), d.shape(1, 2, 12)
    lhs, rhs = ((k, n) if ta else (n, k)), ((m, k) if tb else (k, m))
    return d.case(lead + lhs, lead + rhs, dtypes=FLOATS, transpose_a=ta, transpose_b=tb)


def window(d: Draw, rank: int, dilates: bool = True) -> Dict[str, Any]:
    """Kernel, and now and then stride, dilation and padding."""
    found: Dict[str, Any] = {"kernel": d.along(rank, 1, 4)}
    if d.chance(0.6):
        found["stride"] = d.along(rank, 1, 3)
    if d.chance(0.6):
        found["pad"] = d.along(rank, 0, 3)
    if dilates and d.chance(0.4):
        found["dilate"] = d.along(rank, 1, 3)
    return found


def reach(place: Dict[str, Any]) -> Shape:
    """How far a window sees along each axis."""
    dilate = place.get("dilate", (1,) * len(place["kernel"]))
    return tuple((k - 1) * s + 1 for k, s in zip(place["kernel"], dilate))


def spatial(d: Draw, place: Dict[str, Any]) -> Shape:
    """Extents that a window fits in."""
    pad = place.get("pad", (0,) * len(place["kernel"]))
    return tuple(max(1, r - 2 * p) + d.room(len(pad)) for r, p in zip(reach(place), pad))


def convolution(d: Draw) -> Case:
    rank = 2 if d.op == "Convolution_v1" else d.pick([1, 2, 2, 2, 3])
    place = window(d, rank)
    groups = d.pick([1, 1, 1, 2, 3])
    deep, wide = groups * d.channels(6), groups * d.channels(6)
    if d.chance(0.1) and d.op == "Convolution":
        groups = wide = deep
    n, no_bias, kinds = d.integer(1, 3), d.chance(0.5), FLOATS
    if d.op == "Deconvolution":
        inner, weight = tuple(d.integer(1, 5) for _ in range(rank)), (deep, wide // groups, *place["kernel"])
        place["pad"] = tuple(min(p, (r - 1) // 2) for p, r in zip(place.get("pad", (0,) * rank), reach(place)))
        if "dilate" in place and (rank == 3 or d.chance(0.5)):
            del place["dilate"]
        kinds = ("float32",) if "dilate" in place else FLOATS  # which MXNet's native kernels ignore in part
        steps = place.get("stride", (1,) * rank)
        if d.chance(0.3) and "stride" in place:
            place["adj"] = tuple(d.integer(0, s - 1) for s in steps)
        elif d.chance(0.2):
            cut = tuple(d.integer(0, r - 1) for r in reach(place))
            cut = tuple(c if s > 1 else c - c % 2 for c, s in zip(cut, steps))
            place["target_shape"] = tuple((i - 1) * s + r - c for i, s, r, c in zip(inner, steps, reach(place), cut))
            place["pad"] = tuple((c + 1) // 2 for c in cut)  # what follows from it; oneDNN takes what it is given
    else:
        inner, weight = spatial(d, place), (wide, deep // groups, *place["kernel"])
    shapes = [(n, deep, *inner), weight, *([] if no_bias else [(wide,)])]
    return d.case(*shapes, dtypes=kinds, domain=(-1, 1), num_filter=wide, num_group=groups, no_bias=no_bias, **place)


def pooling(d: Draw) -> Case:
    rank = 2 if d.op.endswith("v1") else d.pick([1, 2, 2, 2, 3])
    place = window(d, rank, dilates=False)
    kernel = place["kernel"]
    if "pad" in place:
        place["pad"] = tuple(min(p, k - 1) for p, k in zip(place["pad"], kernel))
    shape = (d.integer(1, 3), d.channels(5), *spatial(d, place))
    kind = d.pick(["max", "avg", "sum"] + ([] if d.op.endswith("v1") else ["lp"]))
    more: Dict[str, Any] = {"p_value": d.integer(1, 3)} if kind == "lp" else {}
    more["pooling_convention"] = d.pick(["valid", "full"])
    if d.chance(0.15):
        place, more["global_pool"], more["pooling_convention"] = {"kernel": kernel}, True, "valid"
    else:
        more["global_pool"] = False
    kinds = ("float32",) if d.op.endswith("v1") else FLOATS
    return d.case(shape, dtypes=kinds, pool_type=kind, domain=(0.1, 2.0) if kind == "lp" else None, **place, **more)


def columns(d: Draw) -> Case:
    place = window(d, 2)
    inner = spatial(d, place)
    n, c = d.integer(1, 2), d.integer(1, 3)
    if d.op == "im2col":
        return d.case((n, c, *inner), dtypes=FLOATS, **place)
    ones, none = (1, 1), (0, 0)
    counts = [
        (i + 2 * p - r) // s + 1
        for i, p, r, s in zip(inner, place.get("pad", none), reach(place), place.get("stride", ones))
    ]
    shape = (n, c * int(np.prod(place["kernel"])), int(np.prod(counts)))
    return d.case(shape, dtypes=FLOATS, output_size=inner, **place)


def batch_norm(d: Draw) -> Case:
    shape = d.shape(2, 4)
    axis = {"axis": d.axis(len(shape))} if d.op == "BatchNorm" and d.chance(0.5) else {}
    c = shape[axis.get("axis", 1)]
    kind = d.pick(FLOATS[:3]) if d.op == "BatchNorm" else "float32"
    more = {"eps": d.real(0.001, 0.1), "momentum": d.real(0.1, 0.95), **axis}
    if d.op == "_contrib_SyncBatchNorm":
        more.update(key="one", output_mean_var=False)  # which predicting it leaves unwritten
    if d.op == "BatchNorm_v1" and len(shape) == 3:
        shape = (*shape, 1)
    dtypes = [kind] * 5
    return d.case(shape, *[(c,)] * 4, dtypes=dtypes, grads=(0, 1, 2), domain=(0.1, 2.0), **more)


def norm(d: Draw) -> Case:
    eps = {"eps": d.real(0.001, 0.1)} if d.chance(0.7) else {}
    if d.op == "LayerNorm":
        shape = d.shape(1, 4)
        axis = d.axis(len(shape))
        return d.case(shape, *[(shape[axis],)] * 2, dtypes=FLOATS, axis=axis, **eps)
    if d.op == "GroupNorm":
        groups = d.integer(1, 3)
        shape = (d.integer(1, 3), groups * d.channels(3), *d.shape(1, 2, 40))
        return d.case(shape, *[(groups,)] * 2, dtypes=FLOATS, num_groups=groups, **eps)
    if d.op == "InstanceNorm":
        shape = d.shape(3, 4)
        return d.case(shape, *[(shape[1],)] * 2, dtypes=("float32",), **eps)
    if d.op == "LRN":
        more = {"alpha": d.real(0.001, 0.5), "beta": d.real(0.3, 1), "knorm": d.real(1, 3)}
        nsize, shape = d.pick([1, 3, 5]), d.shape(4, 4, 100)
        shape = (shape[0], max(shape[1], nsize), *shape[2:])
        return d.case(shape, dtypes=("float32",), nsize=nsize, **more)
    return d.case(d.shape(3, 4), dtypes=SINGLE, **eps)


def regression(d: Draw) -> Case:
    shape = d.shape(1, 4)
    return d.case(shape, shape, dtypes=FLOATS, grads=(0,), grad_scale=d.real(0.1, 3))


def labels(d: Draw, n: int) -> Tuple[float, ...]:
    return tuple(float(d.integer(0, n - 1)) for _ in range(17))


def softmax_output(d: Draw) -> Case:
    shape = d.shape(2, 4)
    more: Dict[str, Any] = {"grad_scale": d.real(0.1, 3), "out_grad": False}
    more["multi_output"] = len(shape) > 2 and d.chance(0.6)
    more["preserve_shape"] = not more["multi_output"] and d.chance(0.3)
    if more["multi_output"]:
        rest = shape[2:]
        classes, label = shape[1], d.pick([(shape[0], *rest), (shape[0], int(np.prod(rest))), (shape[0], 1, *rest)])
    else:
        classes, label = shape[-1] if more["preserve_shape"] else int(np.prod(shape[1:])), shape[:-1]
    if d.chance(0.1):  # of probabilities
        return d.case(shape, shape, dtypes=FLOATS, grads=(0,), domain=(0.1, 0.9), **more)
    if d.chance(0.4):
        more.update(use_ignore=True, ignore_label=float(d.integer(-1, 2)))
    if d.chance(0.3) and classes > 1:
        more["smooth_alpha"] = d.real(0.05, 0.5)
    return d.case(shape, label, dtypes=FLOATS, grads=(0,), given={1: labels(d, classes)}, **more)


def classes(d: Draw) -> Case:
    n, m = d.extent(), d.extent()
    more = {} if d.op == "softmax_cross_entropy" else {"margin": d.real(0.1, 2)}
    if more:
        more["regularization_coefficient"] = d.real(0.1, 2)
    kinds = ("float32",) if d.op == "softmax_cross_entropy" else FLOATS
    return d.case((n, m), (n,), dtypes=kinds, grads=(0,), given={1: labels(d, m)}, **more)


def make_loss(d: Draw) -> Case:
    return d.case(d.shape(), dtypes=FLOATS, grad_scale=d.real(0.1, 3), valid_thresh=d.real(-1, 1))


def recurrent(d: Draw) -> Case:
    mode = d.pick(["rnn_relu", "rnn_tanh", "lstm", "gru"])
    steps, n, deep, size, layers = (d.integer(1, 5), d.integer(1, 5), d.channels(5), d.channels(5), d.integer(1, 5))
    both, projects = d.chance(0.5), mode == "lstm" and d.chance(0.2)
    layers = min(layers, 3)
    ways, gates = 1 + both, {"lstm": 4, "gru": 3}.get(mode, 1)
    project = d.integer(1, size) if projects else None
    hidden = project or size
    total = 0
    for layer in range(layers):
        inside = deep if layer == 0 else hidden * ways
        total += ways * (gates * size * (inside + hidden + 2) + (project * size if project else 0))
    shapes = [(steps, n, deep), (total,), (layers * ways, n, hidden)]
    if mode == "lstm":
        shapes.append((layers * ways, n, size))
    more = {"projection_size": project} if project else {}
    lengths: Dict[str, Any] = {"use_sequence_length": False}
    return d.case(
        *shapes, dtypes=("float32",) if mode == "rnn_relu" else SINGLE, domain=(-1, 1), mode=mode, state_size=size,
        num_layers=layers, bidirectional=both, p=0.0, grads=() if project else None, state_outputs=True, **more,
        **lengths, lstm_state_clip_nan=False,
    )  # fmt: skip


def ctc(d: Draw) -> Case:
    steps, n, letters = d.integer(3, 8), d.integer(1, 3), d.integer(2, 5)
    most = d.integer(1, (steps - 1) // 2 + 1)
    blank = d.pick(["first", "last"])
    low, high = (1, letters - 1) if blank == "first" else (0, letters - 2)
    words = tuple(float(d.integer(low, high)) for _ in range(n * most))
    of_data = d.chance(0.5)
    of_labels = of_data and d.chance(0.6)  # inputs given by position have no gap
    more: Dict[str, Any] = {"blank_label": blank, "use_data_lengths": of_data, "use_label_lengths": of_labels}
    given, shapes = {1: words}, [(steps, n, letters), (n, most)]
    for is_given, least, length in ((of_data, 2 * most - 1, steps), (of_labels, 1, most)):
        if is_given:
            given[len(shapes)] = tuple(float(d.integer(least, length)) for _ in range(n))
            shapes.append((n,))
    return d.case(*shapes, dtypes=("float32",), grads=(0,), given=given, **more)


def correlation(d: Draw) -> Case:
    kernel, far, pad = d.pick([1, 1, 3]), d.integer(0, 3), d.integer(0, 3)
    least = max(1, kernel + 2 * far - 2 * pad)
    shape = (d.integer(1, 2), d.integer(1, 4), least + d.integer(0, 5), least + d.integer(0, 5))
    steps = {"stride1": d.integer(1, 2), "stride2": d.integer(1, 2)}
    return d.case(shape, shape, dtypes=FLOATS[:2], kernel_size=kernel, max_displacement=far, pad_size=pad, **steps)


def upsampling(d: Draw) -> Case:
    scale, shape = d.integer(1, 3), (d.integer(1, 2), d.integer(1, 3), d.integer(1, 5), d.integer(1, 5))
    if d.chance(0.3):
        k = 2 * scale - scale % 2
        more = {"sample_type": "bilinear", "num_filter": shape[1], "num_args": 2, "multi_input_mode": "concat"}
        return d.case(shape, (shape[1], 1, k, k), dtypes=FLOATS[:3], scale=scale, **more)
    return d.case(shape, dtypes=FLOATS, scale=scale, sample_type="nearest", num_args=1)


def grid(d: Draw) -> Case:
    n, size = d.integer(1, 3), (d.integer(2, 6), d.integer(2, 6))
    if d.chance(0.5):
        return d.case((n, 6), dtypes=("float32",), transform_type="affine", target_shape=size)
    return d.case((n, 2, *size), dtypes=("float32",), transform_type="warp")


def sampler(d: Draw) -> Case:
    n, c, size = d.integer(1, 2), d.integer(1, 3), (d.integer(2, 6), d.integer(2, 6))
    image = (n, c, d.integer(2, 7), d.integer(2, 7))
    if d.op == "BilinearSampler":
        return d.case(image, (n, 2, *size), dtypes=SINGLE, domain=(-1.3, 1.3))
    return d.case(
        image, (n, 6), dtypes=SINGLE, target_shape=size, transform_type="affine", sampler_type="bilinear",
        given={1: tuple(d.real(-1, 1) for _ in range(12))},
    )  # fmt: skip


def resize(d: Draw) -> Case:
    shape = (d.integer(1, 2), d.integer(1, 3), d.integer(1, 8), d.integer(1, 8))
    if d.op == "_contrib_AdaptiveAvgPooling2D":
        size = d.pick([(), (d.integer(1, 9),), (d.integer(1, 9), d.integer(1, 9))])
        return d.case(shape, dtypes=SINGLE, output_size=size)
    if d.chance(0.6):
        return d.case(shape, dtypes=SINGLE, height=d.integer(1, 9), width=d.integer(1, 9), mode="size")
    scales = {"scale_height": d.real(0.5, 2.5), "scale_width": d.real(0.5, 2.5)}
    return d.case(shape, dtypes=SINGLE, mode="odd_scale", **scales)


def boxes(d: Draw, n: int, images: int, size: float, turned: bool = False) -> Tuple[float, ...]:
    """Rows of (image, x1, y1, x2, y2), some beyond the image; turned: (image, x, y, w, h, angle)."""
    found: Tuple[float, ...] = ()
    for _ in range(n):
        x, y = d.real(-1, size), d.real(-1, size)
        far = (d.real(0, size), d.real(0, size))
        corners = (*far, d.real(-90, 90)) if turned else (x + far[0], y + far[1])
        found += (float(d.integer(0, images - 1)), x, y, *corners)
    return found


def regions(d: Draw) -> Case:
    images, n, size = d.integer(1, 2), d.integer(1, 4), d.integer(4, 9)
    scale, inner = d.pick([1.0, 0.5, 0.25]), (size, d.integer(4, 9))
    turned = d.op == "_contrib_RROIAlign"
    given = {1: boxes(d, n, images, size / scale, turned)}
    rois = (n, 6 if turned else 5)
    if d.op == "_contrib_PSROIPooling":
        pooled, out = d.integer(1, 3), d.integer(1, 3)
        data = (images, out * pooled * pooled, *inner)
        return d.case(
            data, rois, dtypes=("float32",), spatial_scale=scale, output_dim=out, pooled_size=pooled,
            group_size=pooled, given=given, grads=(0,),
        )  # fmt: skip
    pooled = (d.integer(1, 4), d.integer(1, 4))
    more: Dict[str, Any] = {}
    channels = d.integer(1, 3)
    if d.op == "_contrib_ROIAlign":
        more = {"sample_ratio": d.pick([-1, 1, 2]), "position_sensitive": d.chance(0.2)}
        channels *= pooled[0] * pooled[1] if more["position_sensitive"] else 1
    if turned:
        more = {"sampling_ratio": d.pick([-1, 1, 2])}
    grads = () if turned else (0,)
    kinds = ("float32",) if turned else SINGLE
    return d.case(
        (images, channels, *inner), rois, dtypes=kinds, pooled_size=pooled, spatial_scale=scale, given=given,
        grads=grads, **more,
    )  # fmt: skip


def moved_regions(d: Draw) -> Case:
    """Regions whose bins offsets move, in planes for each part of a region."""
    images, n, bins, parts = d.integer(1, 2), d.integer(1, 2), d.integer(1, 3), d.integer(1, 2)
    classes, group = d.integer(1, 2), d.integer(1, 2)
    out, inner, scale = classes * d.integer(1, 2), (d.integer(4, 7), d.integer(4, 7)), d.pick([1.0, 0.5])
    shapes = [(images, out * group * group, *inner), (n, 5)]
    more = {"spatial_scale": scale, "output_dim": out, "group_size": group, "pooled_size": bins, "part_size": parts}
    more.update(sample_per_part=d.integer(1, 3), trans_std=d.real(0.05, 0.3), no_trans=d.chance(0.3))
    if not more["no_trans"]:
        shapes.append((n, 2 * classes, parts, parts))
    given = {1: boxes(d, n, images, inner[0] / scale)}
    grads = tuple(k for k in range(len(shapes)) if k != 1)
    return d.case(*shapes, dtypes=SINGLE, domain=(-1, 1), given=given, grads=grads, **more)


def penalty(d: Draw) -> Case:
    shape = (d.integer(1, 6), d.integer(1, 6))
    more = {"sparseness_target": d.real(0.05, 0.9), "penalty": d.real(0.001, 0.5), "momentum": d.real(0.1, 0.95)}
    return d.case(shape, shape[1:], dtypes=("float32",), domain=(0.1, 0.9), grads=(0,), **more)


def deformable(d: Draw) -> Case:
    place = window(d, 2)
    inner, taps = spatial(d, place), int(np.prod(place["kernel"]))
    n, groups = d.integer(1, 2), d.pick([1, 1, 2])
    deep, wide, offsets = groups * d.integer(1, 2), groups * d.integer(1, 3), 1
    ones, none = (1, 1), (0, 0)
    out = tuple(
        (i + 2 * p - r) // s + 1
        for i, p, r, s in zip(inner, place.get("pad", none), reach(place), place.get("stride", ones))
    )
    place = {"stride": ones, "pad": none, "dilate": ones, **place}
    shapes = [(n, deep, *inner), (n, 2 * offsets * taps, *out), (wide, deep // groups, *place["kernel"]), (wide,)]
    if "Modulated" in d.op:
        shapes.insert(2, (n, offsets * taps, *out))
    more = {"num_filter": wide, "num_group": groups, "num_deformable_group": offsets, "no_bias": False}
    return d.case(*shapes, dtypes=SINGLE, domain=(-1.2, 1.3), grads=None, **place, **more)


GENERATORS: Dict[str, Generator] = {
    "FullyConnected": fully_connected, "dot": dot, "batch_dot": batch_dot, "Convolution": convolution,
    "Convolution_v1": convolution, "Deconvolution": convolution, "Pooling": pooling, "Pooling_v1": pooling,
    "im2col": columns, "col2im": columns, "BatchNorm": batch_norm, "_contrib_BatchNormWithReLU": batch_norm,
    "_contrib_SyncBatchNorm": batch_norm, "BatchNorm_v1": batch_norm,
    **dict.fromkeys("LayerNorm GroupNorm InstanceNorm LRN L2Normalization".split(), norm),
    **dict.fromkeys("LinearRegressionOutput LogisticRegressionOutput MAERegressionOutput".split(), regression),
    "SoftmaxOutput": softmax_output, "SVMOutput": classes, "softmax_cross_entropy": classes, "MakeLoss": make_loss,
    "RNN": recurrent, "CTCLoss": ctc, "Correlation": correlation, "UpSampling": upsampling, "GridGenerator": grid,
    "BilinearSampler": sampler, "SpatialTransformer": sampler, "_contrib_AdaptiveAvgPooling2D": resize,
    "_contrib_BilinearResize2D": resize,
    **dict.fromkeys("ROIPooling _contrib_PSROIPooling _contrib_ROIAlign _contrib_RROIAlign".split(), regions),
    "_contrib_DeformablePSROIPooling": moved_regions, "IdentityAttachKLSparseReg": penalty,
    "_contrib_DeformableConvolution": deformable, "_contrib_ModulatedDeformableConvolution": deformable,
}  # fmt: skip
