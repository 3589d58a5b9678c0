"""Object code -> addresses: loads relocatable objects into this process with LLVM's JIT linker."""

from __future__ import annotations

from collections.abc import Mapping

from symc.core.errors import CodegenError


def load_objects(objects: Mapping[str, bytes]) -> dict[str, int]:
    """Address of the function `name` of every object `objects[name]`.

    The bytes must be trusted (compiled here, or checked by the cache): LLVM aborts the process on damaged ones.
    The code stays mapped until the process ends, because native threads may be inside it at any time.
    Raises CodegenError when an object does not define its name.
    """
    if not objects:
        return {}
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # A fresh TargetMachine each time: the engine owns it, and sharing one crashed. llvmlite's memory manager places
    # all sections in one block, which position independent code of the small model needs.
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
    for data in objects.values():
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
    engine.finalize_object()
    addresses = {name: engine.get_function_address(name) for name in objects}
    engine.detach()
    absent = [name for name, address in addresses.items() if address == 0]
    if absent:
        raise CodegenError(f"loading kernels: {', '.join(absent)} not defined by the objects stored under these names")
    return addresses
