"""`SVRGModule`: a module whose gradients are corrected by those over all data.

Every `update_freq` epochs a second module gets the parameters as they are, and the mean of its gradients over all
batches is kept. Each step then uses g - g' + mean, where g' is the second module's gradient for the same batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc import ndarray as nd
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.module import Module
from symc.ndarray import NDArray
from symc.optimizer import Optimizer

from .svrg_optimizer import FULL, _SVRGOptimizer


class SVRGModule(Module):
    """Arguments as for Module, and `update_freq`: every so many epochs the gradients over all data are computed."""

    _resets_after_epochs = False

    def __init__(self, symbol: Any, *args: Any, update_freq: int | None = None, **kwargs: Any) -> None:
        super().__init__(symbol, *args, **kwargs)
        if not isinstance(update_freq, int):
            raise ArgumentTypeError(f"SVRGModule: update_freq must be an integer, got {update_freq!r}")
        if update_freq <= 0:
            raise ArgumentError(f"SVRGModule: update_freq must be a positive integer, got {update_freq}")
        self.update_freq = update_freq
        self._mod_aux = Module(symbol, *args, **kwargs)
        self._param_dict: list[dict[str, NDArray]] = []  # by context: the mean gradient of each parameter
        self._ctx_len = len(self._context)

    # Both modules.

    def bind(
        self,
        data_shapes: Any,
        label_shapes: Any = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Any = None,
        grad_req: Any = "write",
    ) -> None:
        args = (for_training, inputs_need_grad, force_rebind, shared_module, grad_req)
        super().bind(data_shapes, label_shapes, *args)
        if for_training:
            self._mod_aux.bind(data_shapes, label_shapes, *args)

    def _reset_bind(self) -> None:
        super()._reset_bind()
        self._mod_aux._reset_bind()

    def reshape(self, data_shapes: Any, label_shapes: Any = None) -> None:
        super().reshape(data_shapes, label_shapes)
        self._mod_aux.reshape(data_shapes, label_shapes)

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        super().forward(data_batch, is_train)
        if is_train:
            self._mod_aux.forward(data_batch, is_train)

    def backward(self, out_grads: Any = None) -> None:
        super().backward(out_grads)
        if self._mod_aux.binded:
            self._mod_aux.backward(out_grads)

    def prepare(self, data_batch: Any, sparse_row_id_fn: Any = None) -> None:
        super().prepare(data_batch, sparse_row_id_fn)
        self._mod_aux.prepare(data_batch, sparse_row_id_fn)

    # The optimizer.

    def init_optimizer(self, *args: Any, **kwargs: Any) -> None:
        """As for Module; a store gets a further key for the full gradient of each parameter.

        Parameters stay as they are: MXNet has the first step of several contexts begin with zeros.
        """
        parameters = self.get_params()[0]
        self._param_dict = [
            {name: nd.zeros(x.shape, ctx=place, dtype=x.dtype) for name, x in parameters.items()}
            for place in self._context
        ]
        super().init_optimizer(*args, **kwargs)
        if self._kvstore is not None:
            for name in self._param_names:
                self._kvstore.init(name + FULL, nd.zeros(parameters[name].shape, dtype=parameters[name].dtype))

    def _made(self, optimizer: Any, params: Any, store: Any, on_store: bool) -> Optimizer:
        inner = super()._made(optimizer, params, store, on_store)
        full = {len(inner.idx2name) + k: name + FULL for k, name in enumerate(self._param_names)}
        return _SVRGOptimizer(inner, param_idx2name={**inner.idx2name, **full}, rescale_grad=inner.rescale_grad)

    def update(self) -> None:
        """A step by the corrected gradients."""
        self._update_svrg_gradients()
        super().update()

    def _update_svrg_gradients(self) -> None:
        pairs = zip(self._param_names, self._group.grad_arrays, self._mod_aux._group.grad_arrays)
        for name, gradients, at_kept in pairs:
            for full, gradient, other in zip(self._param_dict, gradients, at_kept):
                if gradient is not None:
                    self._svrg_grads_update_rule([gradient], [other], [full[name]])

    def _svrg_grads_update_rule(
        self,
        g_curr_batch_curr_weight: Sequence[NDArray],
        g_curr_batch_special_weight: Sequence[Any],
        g_special_weight_all_batch: Sequence[NDArray],
    ) -> Sequence[NDArray]:
        """Corrects gradients in place, and gives them."""
        for gradient, other, full in zip(
            g_curr_batch_curr_weight, g_curr_batch_special_weight, g_special_weight_all_batch
        ):
            gradient -= other
            gradient += full
        return g_curr_batch_curr_weight

    # Gradients over all data.

    def update_full_grads(self, train_data: Any) -> None:
        """Computes the mean gradients at the parameters as they are now.

        As in MXNet the sum begins with the mean of the time before, and a batch's padding counts as samples.
        """
        self._mod_aux.set_params(*self.get_params())
        train_data.reset()
        n_batches, padding = 0, 0
        for batch in train_data:
            self._mod_aux.forward(batch, is_train=True)
            self._mod_aux.backward()
            n_batches += 1
            padding = batch.pad
            for name, gradients in zip(self._param_names, self._mod_aux._group.grad_arrays):
                for full, gradient in zip(self._param_dict, gradients):
                    if gradient is not None:
                        full[name] += gradient
        n_whole = n_batches - (padding or 0) / train_data.batch_size
        for name in self._param_names:
            for full in self._param_dict:
                full[name] /= n_whole
            if self._kvstore is not None:
                self._accumulate_kvstore(name, [full[name] for full in self._param_dict])

    def _accumulate_kvstore(self, key: str, value: list[NDArray]) -> None:
        """The mean over all contexts and workers; each begins its next sum with it."""
        self._kvstore.push(key + FULL, value)
        self._kvstore._barrier()
        self._kvstore.pull(key + FULL, value)
        self._allocate_gradients(key, value)

    def _allocate_gradients(self, key: str, value: Sequence[NDArray]) -> None:
        n = self._ctx_len * (1 if self._kvstore is None else self._kvstore.num_workers)
        for full, total in zip(self._param_dict, value):
            full[key] = total / n

    def _epoch(self, train_data: Any, epoch: int, *args: Any) -> list[tuple[str, float]]:
        if epoch % self.update_freq == 0:
            self.update_full_grads(train_data)
        train_data.reset()
        return super()._epoch(train_data, epoch, *args)
