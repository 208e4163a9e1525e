"""A process that has imported numpy, xarray and matplotlib and turns forks of itself into notebook kernels.

Most of a short notebook's time is these imports. A fork starts with them done, in the same interpreter with the same
environment, and is a kernel like any other; where anything here fails, the runner starts a plain one.
The server reads one JSON line per kernel on standard input and answers on standard output: the pid of a kernel that it
started, later its exit code. When its input ends it ends its kernels and itself, so nothing outlives the run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["ForkServer", "ForkedProcess", "serve"]

PRELOAD = (
    *("numpy", "pandas", "xarray", "xarray.core.formatting_html", "ipykernel.kernelapp", "ipykernel.zmqshell"),
    *("matplotlib.figure", "matplotlib.widgets", "matplotlib.dates", "matplotlib.image", "matplotlib.projections"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
)
"""What kernels find imported. Not pyplot, the inline backend or ipywidgets: those look for a running IPython when they
are imported, and there is none here yet."""


class ForkedProcess:
    """A forked kernel as `subprocess.Popen` would show it, as far as a kernel manager asks."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def finish(self, code: int) -> None:
        """Note the exit code."""
        self.returncode = code
        self.ended.set()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; returns the exit code."""
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The other end: starts the server, asks it for kernels, and hears when they end."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hetcnn.repro.forkserver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self.log = log
        self.kernels: dict[int, ForkedProcess] = {}
        self.lock = threading.Lock()
        self.answers: list[int] = []
        self.answered = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def launch(self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None) -> ForkedProcess:
        """Return a new kernel; raises OSError when the server cannot start one."""
        request = {"argv": list(argv), "env": dict(env), "cwd": cwd or str(Path.cwd()), "log": str(self.log)}
        with self.lock:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            with self.answered:
                if not self.answered.wait_for(lambda: self.answers, timeout=60):
                    raise TimeoutError("the fork server does not answer")
                pid = self.answers.pop()
            if pid <= 0:
                raise ChildProcessError("the fork server has ended")
            return self.kernels[pid]

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "code" in message:
                self.kernels[message["pid"]].finish(message["code"])
            else:
                self.kernels[message["pid"]] = ForkedProcess(message["pid"])
                self._answer(message["pid"])
        self._answer(0)
        for kernel in self.kernels.values():
            if kernel.returncode is None:
                kernel.finish(-signal.SIGKILL)

    def _answer(self, pid: int) -> None:
        with self.answered:
            self.answers.append(pid)
            self.answered.notify()

    def close(self) -> None:
        """End the server, and with it every kernel that still runs."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Import what kernels need, then start one for every line of `requests` until they end."""
    # As ipykernel's own launcher does: the current folder must not hide an installed package.
    if sys.path and (not sys.path[0] or Path(sys.path[0]) == Path.cwd()):
        del sys.path[0]
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running: set[int] = set()
    pending = b""
    asked = requests.fileno()
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(running, replies)
        if asked in ready:
            chunk = os.read(asked, 1 << 16)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                pid = _fork(json.loads(line), (requests, replies), (woken, wake))
                running.add(pid)
                _reply(replies, {"pid": pid})
    for pid in running:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _reply(replies: IO[bytes], message: Mapping[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):
        replies.write(json.dumps(message).encode() + b"\n")
        replies.flush()


def _reap(running: set[int], replies: IO[bytes]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _reply(replies, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _fork(request: Mapping[str, Any], streams: Sequence[IO[bytes]], pipes: Sequence[int]) -> int:
    """Start one kernel; returns its pid. The child never returns from here."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        # Both sides do this: whoever is first, the group exists before anybody signals it.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(request, streams, pipes)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            import atexit

            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(request: Mapping[str, Any], streams: Sequence[IO[bytes]], pipes: Sequence[int]) -> None:
    """Turn this process into the kernel that `request` describes, and run it to its end."""
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for descriptor in {log, null, *pipes, *(s.fileno() for s in streams)} - {0, 1, 2}:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.environ["JPY_PARENT_PID"] = str(os.getppid())
    os.chdir(request["cwd"])
    if "numpy.random" in sys.modules:
        # A fork repeats its parent's random numbers; a new process would not.
        sys.modules["numpy.random"].seed()
    from ipykernel.kernelapp import IPKernelApp

    python, _, module, *rest = request["argv"]
    sys.argv = [module, *rest]
    assert python == sys.executable
    IPKernelApp.launch_instance([*rest, f"--IPKernelApp.parent_handle={os.getppid()}"])


def main() -> None:
    """Serve on copies of the standard streams, so that nothing printed by an import is taken for an answer."""
    requests, replies = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(requests, replies)


if __name__ == "__main__":
    main()
