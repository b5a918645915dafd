"""A kernel manager for programs that run many notebooks: it waits for nothing that has happened."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from traitlets import default

#: The kernel's name.
WARM = "workbench"


class PromptClient(AsyncKernelClient):
    """A client that is ready when its kernel is. The usual one then listens for 0.2 s for what may be left of earlier clients."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output arrives. Raises `RuntimeError` if it dies, or takes longer than `timeout` [s]."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            self.kernel_info()
            try:
                answer = await self.get_shell_msg(timeout=1)
                await self.get_iopub_msg(timeout=0.2)  # the output channel is open
                self._handle_kernel_info_reply(answer)
                return
            except Empty:
                pass
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")


class PromptKernelManager(AsyncKernelManager):
    """Starts and ends kernels as its parent does, with `PromptClient`."""

    # The usual ones sleep for 10 ms after their work, so that tests can see a state that no longer holds.
    start_kernel = KernelManager._async_start_kernel.__wrapped__  # type: ignore[attr-defined]
    shutdown_kernel = KernelManager._async_shutdown_kernel.__wrapped__  # type: ignore[attr-defined]

    @default("client_factory")
    def _prompt_client(self) -> type[AsyncKernelClient]:
        return PromptClient


#: What papermill needs to be told to run a notebook promptly: nothing is saved before the end, and the kernel says little.
PROMPT: dict[str, Any] = {
    "kernel_manager_class": PromptKernelManager,
    "request_save_on_cell_execute": False,
    "extra_arguments": ["--log-level=50"],
}


def warm(kernel: str) -> str:
    """The warm kernel in the place of `kernel`, where it is the Python that runs this and the warm one is installed; else `kernel`."""
    return WARM if kernel == NATIVE_KERNEL_NAME and WARM in KernelSpecManager().find_kernel_specs() else kernel
