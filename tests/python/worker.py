"""Processes that can be killed at any moment, cheap enough to kill hundreds of them.

A *zygote* is a process that has imported everything and opened no store; asked through a socket, it forks a
worker, which takes over that connection. Run as a program, this file is the zygote.
"""

import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path


class Connection:
    """Python objects over a stream socket."""

    def __init__(self, stream):
        self.stream = stream

    def send(self, message):
        data = pickle.dumps(message)
        self.stream.sendall(struct.pack("<Q", len(data)) + data)

    def receive(self):
        (size,) = struct.unpack("<Q", self._exactly(8))
        return pickle.loads(self._exactly(size))

    def _exactly(self, size):
        parts = bytearray()
        while len(parts) < size:
            part = self.stream.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError("the worker has died")
            parts += part
        return bytes(parts)


class Worker:
    """A process that runs one function of this module after another and answers what it returned."""

    def __init__(self, stream):
        self.connection = Connection(stream)
        self.pid = self.connection.receive()
        self.handle = os.pidfd_open(self.pid)

    def start(self, function, *arguments):
        self.connection.send((function.__name__, arguments))

    def finish(self):
        kind, result = self.connection.receive()
        if kind == "failed":
            raise AssertionError(f"in the worker: {result}")
        return result

    def call(self, function, *arguments):
        self.start(function, *arguments)
        return self.finish()

    def kill(self):
        """When this returns the process is gone, with its locks."""
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        self.join()

    def join(self):
        ended = select.poll()  # select() takes no descriptors above 1023
        ended.register(self.handle, select.POLLIN)
        ended.poll()
        os.close(self.handle)
        self.connection.stream.close()

    def exit(self):
        """Lets the process end as a Python program does."""
        self.connection.send(None)
        self.join()


class Zygote:
    def __init__(self, path):
        self.path = str(path)

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, __file__, self.path])
        while not os.path.exists(self.path):
            assert self.process.poll() is None, "the zygote did not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()

    def worker(self):
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(self.path)
        return Worker(stream)


# ---- Functions that workers run; `state` keeps the container between calls ----

state = {}


def open_container(kind, path, options):
    import support

    state["subject"] = support.Subject(kind, path, options)


def on_subject(method, *arguments):
    return getattr(state["subject"], method)(*arguments)


def run_stream(*arguments):
    """Applies operations of a stream until killed; see test_kill.py."""
    import kill_stream

    kill_stream.run(*arguments)


# ---- The zygote ----


def serve(stream):
    connection = Connection(stream)
    connection.send(os.getpid())
    while (request := connection.receive()) is not None:
        name, arguments = request
        try:
            answer = "returned", globals()[name](*arguments)
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {error}"
        connection.send(answer)


def be_zygote(path):
    import support  # noqa: F401 - so that a worker need not

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen()
    os.rename(path + ".new", path)
    while True:
        stream, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                serve(stream)
            except (EOFError, ConnectionError):
                pass
            return
        stream.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    be_zygote(sys.argv[1])
