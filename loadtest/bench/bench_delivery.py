"""The delivery benchmark: everything of one machine in one run, rivals in turns. `make bench-delivery`.

    bench_delivery.py [--runs 7] [--only B1,B4] [--smoke] [--report FOLDER]

Writes results.json, report.md and the plots into the folder. deploy/scripts/bench-delivery starts the stores,
seeds the database and calls this.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

import ceiling
import faults
import isolation
import report
from world import ROOT, World

SIZES = {  # of the whole benchmark, and of the smoke that shows that it runs
    "full": {"hosts": 1000, "activities": 10, "many": 10_000, "follows": 1000, "kills": 50, "objects": 500, "pile": 100,
             "waiting": 1_000_000, "known": 10_000, "pace": (60, 120), "memory": 120, "failing": 30},
    "smoke": {"hosts": 20, "activities": 2, "many": 50, "follows": 20, "kills": 2, "objects": 10, "pile": 5,
              "waiting": 2_000, "known": 100, "pace": (5, 10), "memory": 10, "failing": 12},
}


class Bench:
    def __init__(self, world, size, runs):
        self.world, self.size, self.runs = world, size, runs
        self.results = {}

    def add(self, name, result):
        self.results.setdefault(name, []).append(result)
        shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()
                 if not isinstance(value, (list, dict))}
        print(f"{time.strftime('%H:%M:%S')} {name}: {shown}", flush=True)

    def best(self):
        runs = self.results.get("b1") or [ceiling.deliver(self.world, "http", self.size["hosts"], self.size["activities"])]
        return statistics.median(run["per_second"] for run in runs)

    def b1(self):
        """Tidegate, the bare POST, Tidegate over TLS, slow hosts and Fedify, in turns."""
        hosts, activities = self.size["hosts"], self.size["activities"]
        fedify = ceiling.Fedify(self.world)
        try:
            for _ in range(self.runs):
                self.add("b1", ceiling.deliver(self.world, "http", hosts, activities))
                self.add("bare", ceiling.bare(self.world, hosts, activities))
                self.add("b1_https", ceiling.deliver(self.world, "https", hosts, activities))
                self.add("b2", ceiling.slow_hosts(self.world, hosts, activities))
                self.add("fedify", fedify.deliver(hosts, 1))
        finally:
            fedify.stop()

    def b3(self):
        isolation.prepare(self.world)
        rate = self.best() / 2
        for _ in range(self.runs):
            for faulty in (False, True):
                self.add("b3", isolation.failing_hosts(self.world, faulty, rate, self.size["failing"]))

    def b4(self):
        isolation.prepare_follows(self.world, self.size["many"])
        for run in range(self.runs):
            self.add("b4", isolation.follows_beside_posts(self.world, self.size["many"], self.size["follows"], 50, run))

    def b5(self):
        self.add("b5", faults.kills(self.world, self.size["hosts"], self.size["kills"]))

    def b6(self):
        # Once: it is about what arrives, not how fast, and some rows climb their ladder for minutes.
        self.add("b6", faults.order(self.world, self.size["objects"]))

    def b7(self):
        warm, measured = self.size["pace"]
        self.add("b7", isolation.paces(self.world, warm=warm, measured=measured))

    def b8(self):
        down = 120 if self.size["pile"] == 100 else 10
        self.add("b8", faults.outage(self.world, self.size["hosts"], self.size["pile"], self.best(), down=down))

    def b9(self):
        for _ in range(self.runs):
            for workers in (1, 2, 4):
                self.add(f"b9_{workers}", ceiling.scale(self.world, self.size["hosts"], workers, 2))
        self.world.restart_delivery()

    def memory(self):
        self.add("memory", faults.memory(self.world, self.size["waiting"], self.size["known"], self.size["memory"]))

    def broken(self):
        """What no speed makes up for: something was lost, given up or came in the wrong order."""
        promises = {"b5": ("lost", "dead"), "b6": ("inversions", "repeated"), "b8": ("dead",)}
        found = [f"{name}: {run[key]} {key}" for name, keys in promises.items() for run in self.results.get(name, [])
                 for key in keys if run[key]]
        return found + [f"b6: {run['end_states'] - run['end_states_equal']} end states differ"
                        for run in self.results.get("b6", []) if run["end_states"] != run["end_states_equal"]]


def settings(state):
    """What deploy/scripts/servers wrote down, without the ways between roles: ours are on other ports."""
    found = {}
    for line in (state / "servers/env").read_text().splitlines():
        if line.startswith("export TIDEGATE_") and "_RPC__" not in line:
            key, value = line.removeprefix("export ").split("=", 1)
            found[key] = value
    return found


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) // 1024 ** 2
    # A checkout that was unpacked, on a machine without git, has none.
    asked = [shutil.which("git") or "false", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": memory, "kernel": platform.release(), "commit": commit,
            "load_at_start": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d %H:%M")}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--only", default="b1,b3,b4,b6,b7,b8,b9,memory,b5")
    options.add_argument("--smoke", action="store_true")
    options.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    options.add_argument("--state", type=pathlib.Path, default=ROOT / ".tidegate/bench")
    options.add_argument("--postgres-pid", type=int, required=True)
    options.add_argument("--report", type=pathlib.Path, required=True)
    options.add_argument("--psql", default=shutil.which("psql") or "psql")
    chosen = options.parse_args()
    run = chosen.state / "run"
    run.mkdir(parents=True, exist_ok=True)
    world = World(run, chosen.binaries, settings(chosen.state), chosen.psql)
    world.stores = {"postgres": chosen.postgres_pid,
                    "rabbitmq": int((chosen.state / "servers/rabbit/pid").read_text())}
    bench = Bench(world, SIZES["smoke" if chosen.smoke else "full"], 1 if chosen.smoke else chosen.runs)
    database = "is as good as empty" if chosen.smoke else "holds 1 M accounts, 20 M follows and 10 M statuses"
    about = machine() | {"asked": f"--runs {bench.runs} --only {chosen.only}", "database": database}
    failed = []
    try:
        world.start()
        ceiling.prepare(world, bench.size["hosts"])
        for name in chosen.only.lower().split(","):
            try:
                getattr(bench, name)()
            except Exception as error:  # the other parts are worth having
                failed.append(name)
                print(f"{name} failed: {error!r}", file=sys.stderr, flush=True)
            report.write(chosen.report, about, bench.results, plots=not chosen.smoke)
    finally:
        world.stop()
    failed += bench.broken()
    if failed:
        sys.exit(f"these parts failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
