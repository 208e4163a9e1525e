"""Kernels for notebooks: this interpreter's own `python3`, over local sockets, whatever else is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

    from hetcnn.repro.forkserver import ForkServer

__all__ = ["Kernels", "environment"]

POSIX = os.name == "posix"
"""Forks and local sockets are to be had; elsewhere kernels are plain and speak over TCP."""

MATPLOTLIBRC = "svg.hashsalt: hetcnn\n"
WHOLE_CELLS = "__import__('pandas').set_option('display.max_colwidth', None)"
ARGUMENTS = (
    "--InlineBackend.figure_formats={'svg'}",
    "--HistoryManager.enabled=False",
    f"--IPKernelApp.exec_lines={WHOLE_CELLS}",
)
"""Figures come out as vector graphics, tables with their texts whole; what they show does not change. No history."""


def environment(folder: Path) -> dict[str, str]:
    """What kernels get on top of the user's environment so that two runs, on two machines, show the same."""
    return {
        "IPYTHONDIR": str(folder / "ipython"),
        "MATPLOTLIBRC": str(folder / "matplotlibrc"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "946684800",
    }


class Kernels:
    """The kernels of one run: where their sockets are, how they start, and how to end them all.

    With `fork` they are forks of a process that has imported the usual packages; a kernel that cannot be had that way
    is started plainly.
    """

    def __init__(self, *, fork: bool = True) -> None:
        self.fork = fork and POSIX
        self.stopping = threading.Event()
        self.managers: list[Any] = []
        self.server: ForkServer | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="hetcnn-", dir=_short_folder()))
        (self.folder / "matplotlibrc").write_text(MATPLOTLIBRC)
        self.env = environment(self.folder)
        if self.fork:
            from hetcnn.repro.forkserver import ForkServer

            # First of all: it imports while this process imports papermill.
            with contextlib.suppress(OSError):
                self.server = ForkServer(self.env, self.folder / "kernels.log")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.server is not None:
            self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End every kernel that still runs."""
        self.stopping.set()
        for manager in self.managers:
            provisioner = manager.provisioner
            if provisioner is not None and provisioner.has_process:
                with contextlib.suppress(OSError):
                    if POSIX:
                        os.killpg(provisioner.pid, signal.SIGKILL)
                    else:
                        provisioner.process.kill()

    def manager_class(self) -> type[AsyncKernelManager]:
        """Return the class of kernel manager that papermill is to use."""
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager

        kernels = self
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *ARGUMENTS]
        spec = KernelSpec(argv=argv, name="python3", display_name="Python 3", language="python", env=self.env)

        class Manager(AsyncKernelManager):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.transport = "ipc" if POSIX else "tcp"
                self.connection_file = str(kernels.folder / f"{uuid.uuid4().hex[:12]}.json")
                self._kernel_spec = spec
                kernels.managers.append(self)

            async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
                if kernels.server is not None and kernels.adopt(self, kernels.server, kernel_cmd, kw):
                    return
                # What a kernel writes past its own streams belongs in a file, not among the progress lines.
                with (kernels.folder / "kernels.log").open("ab") as log:
                    await super()._async_launch_kernel(kernel_cmd, **(kw | {"stdout": log, "stderr": log}))

        return Manager

    def adopt(self, manager: Any, server: ForkServer, command: list[str], options: Mapping[str, Any]) -> bool:
        """Give a manager a forked kernel; returns False when there is none to have."""
        try:
            process = server.launch(command, options["env"], options.get("cwd"))
        except OSError:
            self.server = None
            return False
        provisioner = manager.provisioner
        provisioner.process = process
        provisioner.pid = provisioner.pgid = process.pid
        provisioner.cwd = options.get("cwd") or Path.cwd()
        manager._reconcile_connection_info(provisioner.connection_info)
        return True


def _short_folder() -> str | None:
    """A temporary folder whose path leaves room for a socket's name, which holds about 100 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 40 or not Path("/tmp").is_dir() else "/tmp"
