"""MXNet's servers, of which there are none."""

from __future__ import annotations

from typing import Any

from symc.core.errors import SymcError


class KVStoreServer:
    """Raises SymcError: workers sum gradients among themselves."""

    def __init__(self, kvstore: Any) -> None:
        raise SymcError(
            "there are no servers: workers sum gradients among themselves. Create a 'dist_sync' store and start one "
            "process for each worker: mpirun -n 4 python train.py"
        )
