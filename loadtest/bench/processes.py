"""What runs: Tidegate's roles, the simulator, the stores; and how much CPU time each took."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def children_of(parent):
    """Process ids below a process, itself first."""
    found, below = [], {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(entry.name))
    todo = [parent]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += below.get(pid, [])
    return found


def cpu_seconds(pid):
    """User and system time of a process and everything below it, ended children included."""
    ticks = 0
    for each in children_of(pid):
        try:
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def memory_bytes(pid, key="VmRSS"):
    """Resident memory now (VmRSS) or at its highest (VmHWM)."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@dataclasses.dataclass
class Process:
    """One process that we started; its output goes into a file."""

    name: str
    command: list
    env: dict
    log: pathlib.Path
    child: subprocess.Popen = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)
        return self

    @property
    def pid(self):
        return self.child.pid

    def cpu(self):
        return cpu_seconds(self.pid)

    def stop(self, patience=40):
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        self.child = None

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.child = None


def until(what, done, patience=60, pause=0.05):
    """Waits until `done()` is true; says what it waited for in vain."""
    deadline = time.monotonic() + patience
    while True:
        if done():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience} s in vain for {what}")
        time.sleep(pause)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
