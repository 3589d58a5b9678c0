"""The descriptor of a nest, read: every number that a kernel's body needs, as LLVM values."""

from __future__ import annotations

from llvmlite import ir

from symc.codegen.llvm.lanes import I64, Lanes
from symc.loopir.expr import Expr

from .form import Form
from .layout import Addressed, Key, WordLayout


class Words:
    """Extents by axis; addresses, steps and computed strides by access; values of parameters.

    address   byte address of an access where all axes are 0; number of an index value there
    step      (access, axis) -> bytes (of an index value: its increase) of one step along the axis
    computed  (access, position) -> stride of a computed component
    """

    def __init__(self, scalar: Lanes, form: Form, layout: WordLayout, desc: ir.Value, bufs: ir.Value) -> None:
        self.b, self._at, self._desc = scalar.b, layout.at, desc
        self.extent = {axis: self._word(("extent", axis)) for axis in layout.axes}
        self.address: dict[Addressed, ir.Value] = {}
        self.step: dict[tuple[Addressed, str], ir.Value] = {}
        self.computed: dict[tuple[Key, int], ir.Value] = {}
        self.parameters: dict[Expr, ir.Value] = {}
        for word in layout.at:
            if word[0] == "base":
                self.address[word[1]] = self._base(word, bufs)
            elif word[0] == "step":
                self.step[word[1], word[2]] = self._word(word)
            elif word[0] == "computed":
                self.computed[word[1], word[2]] = self._word(word)
            elif word[0] == "param":
                self.parameters[word[1]] = scalar.parameter(self._word(word), word[1].dtype)
        for key, axis in layout.contiguous:
            self.step[key, axis] = I64(form.access(key).item_size)

    def _word(self, key: tuple, further: int = 0) -> ir.Value:
        return self.b.load(self.b.gep(self._desc, [I64(self._at[key] + further)]))

    def _base(self, word: tuple, bufs: ir.Value) -> ir.Value:
        if isinstance(word[1], Expr) and word[1].op == "index":
            return self._word(word)
        slot = self.b.load(self.b.gep(bufs, [self._word(word)]))
        return self.b.add(slot, self._word(word, 1))
