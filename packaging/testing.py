"""What the tests of the packages share: running programs, waiting, and the folders of tools and packages."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"
PACKAGING = ROOT / "packaging"
# How long something that should happen may take on a busy machine, in seconds.
PATIENCE = 120


def target() -> pathlib.Path:
    """The folder of packaging/build."""
    return pathlib.Path(subprocess.check_output([PACKAGING / "out"], text=True).strip())


def tool(name: str) -> str:
    """A program of packaging/tools, of tests/peers, or on PATH."""
    for folder in [PEERS / "packaging/bin", PEERS / "packaging/python/bin", PEERS / "go/bin", PEERS / "usr/bin"]:
        if os.access(folder / name, os.X_OK):
            return str(folder / name)
    found = shutil.which(name)
    assert found, f"{name} is missing: run packaging/tools"
    return found


def run(*command, check=True, **options) -> subprocess.CompletedProcess:
    """Runs a command; its output is text. Fails with the output unless the command succeeds."""
    command = [str(part) for part in command]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT, **options}
    done = subprocess.run(command, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done


def output(*command, **options) -> str:
    """What a command prints to standard output."""
    return run(*command, stderr=None, **options).stdout


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def wait_for(what: str, attempt, patience=PATIENCE):
    """Repeats `attempt` until it returns something true; returns that."""
    deadline = time.monotonic() + patience
    last = None
    while time.monotonic() < deadline:
        try:
            if result := attempt():
                return result
        except (OSError, ValueError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {patience} s; last error: {last}")


def value_sum(page: str, family: str) -> float:
    """The sum of a family's series on a page of metrics."""
    lines = (line for line in page.splitlines() if line.startswith((family + "{", family + " ")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="videogen-packaging-")


def prometheus_query(port: int, query: str) -> list:
    """The result of an instant query."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    return json.loads(fetch(url))["data"]["result"]


class Containers:
    """Containers of a test; removed at its end."""

    def __init__(self):
        os.environ["CONTAINERS_CONF"] = str(PACKAGING / "containers.conf")
        self.started = []

    def podman(self, *arguments, **options):
        return run("podman", *arguments, **options)

    def start(self, name: str, *arguments):
        """Starts a container of the image, as hardened as the docs say, on the network of this machine."""
        self.started.append(name)
        self.podman("rm", "--force", "--time=2", name, check=False)
        hardened = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host"]
        self.podman("run", "--detach", f"--name={name}", *hardened, *arguments)

    def stop(self, name: str) -> int:
        """Stops a container with SIGTERM; returns its exit code."""
        self.podman("stop", "--time=60", name)
        code = int(output("podman", "inspect", "--format={{.State.ExitCode}}", name))
        self.podman("rm", name)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.started:
            self.podman("rm", "--force", "--time=2", name, check=False)


def ok(kind: str):
    print(f"{kind} ok", flush=True)


if __name__ == "__main__":
    sys.exit("testing.py is a library of the tests")
