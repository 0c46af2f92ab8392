"""The guard's nft table, through libnftables (libnftables(3)).

The table has `flags owner`: it belongs to the netlink socket of this process, nobody else can change it, and the kernel
removes it when the process ends, however it ends. The `nft` program would take it along at its exit, hence the library.
"""

from __future__ import annotations

import ctypes
import re
import subprocess


class NetfilterError(RuntimeError):
    """nft refused a ruleset."""


class Table:
    """One table owned by this process. Each call takes a few milliseconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._exists = False
        self._library = ctypes.CDLL("libnftables.so.1")
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)

    def replace(self, ruleset: str) -> None:
        """Make `ruleset`, which is the whole table, the rules in force, in one transaction. Raises NetfilterError."""
        before = f"delete table ip {self._name}\n" if self._exists else ""
        self._run(before + ruleset)
        self._exists = True

    def packets(self, counter: str) -> int:
        """What a counter of the table has counted; it begins anew with the table. Raises NetfilterError."""
        found = re.search(r"packets (\d+)", self._run(f"list counter ip {self._name} {counter}"))
        if found is None:
            raise NetfilterError(f"counter {counter} of table {self._name} does not say what it has counted")
        return int(found[1])

    def _run(self, commands: str) -> str:
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            error = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise NetfilterError(error.decode(errors="replace").strip())
        return str((self._library.nft_ctx_get_output_buffer(self._context) or b"").decode(errors="replace"))


def forget_flows(alias: str) -> None:
    """Make flows to `alias` find its new target: translations and open connections outlive a change of rules."""
    for command in (("conntrack", "-D", "-d", alias), ("ss", "-K", "dst", alias)):
        subprocess.run(command, check=False, capture_output=True, timeout=5)
