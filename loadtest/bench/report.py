"""The report: medians with their spread, limits beside them, plots."""

import json
import statistics


def median(runs, key):
    values = [run[key] for run in runs]
    return statistics.median(values), min(values), max(values)


def shown(runs, key, digits=0):
    middle, low, high = median(runs, key)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def verdict(holds):
    return "holds" if holds else "**falls short**"


def ratio(runs, others, key):
    """The median of the ratios of neighbours: both halves of each had the same machine."""
    return statistics.median(run[key] / other[key] for run, other in zip(runs, others))


def lines_b1(results):
    b1, bare = results["b1"], results["bare"]
    cost = ratio(b1, bare, "cpu_us")
    yield ["B1 CPU per delivery of all of Tidegate, µs", shown(b1, "cpu_us"), "", ""]
    yield ["B1 CPU per bare signed POST, µs", shown(bare, "cpu_us"), "", ""]
    yield ["B1 ratio of the two", f"{cost:.2f}", "at most 1.36", verdict(cost <= 1.36)]
    yield ["B1 deliveries a second (sender, sink and stores on the same cores)", shown(b1, "per_second"), "", ""]
    for name in ("postgres", "rabbitmq", "simulator", "delivery", "fanout", "api"):
        values = [{"x": run["cpu_us_of"].get(name, 0.0)} for run in b1]
        yield [f"B1 CPU per delivery: {name}, µs", shown(values, "x"), "", ""]
    if "b1_https" in results:
        https = results["b1_https"]
        yield ["B1 over TLS: CPU per delivery, µs", shown(https, "cpu_us"), "", ""]
        yield ["B1 over TLS: deliveries a second", shown(https, "per_second"), "", ""]
        yield ["B1 over TLS: handshakes a run", shown(https, "handshakes"), "", ""]
    if "fedify" in results:
        times = 1 / ratio(b1, results["fedify"], "cpu_us")
        yield ["Fedify 2.3.6, queue in the process: CPU per delivery, µs", shown(results["fedify"], "cpu_us"), "", ""]
        yield ["Fedify: deliveries a second", shown(results["fedify"], "per_second"), "", ""]
        yield ["Fedify's CPU per delivery over ours", f"{times:.1f}", "aim: 15", verdict(times >= 15)]
    if "b2" in results:
        share = ratio(results["b2"], b1, "per_second")
        yield ["B2 every host answers after 200 ms: deliveries a second", shown(results["b2"], "per_second"), "", ""]
        yield ["B2 share of B1", f"{share:.2f}", "at least 0.9", verdict(share >= 0.9)]


def lines_b3(results):
    clean = [run for run in results["b3"] if not run["faulty"]]
    faulty = [run for run in results["b3"] if run["faulty"]]
    times = ratio(faulty, clean, "p95")
    yield ["B3 p95 to healthy hosts, all well, ms", shown([{"x": run["p95"] * 1e3} for run in clean], "x"), "", ""]
    yield ["B3 p95 to healthy hosts, a quarter failing, ms", shown([{"x": run["p95"] * 1e3} for run in faulty], "x"), "", ""]
    yield ["B3 ratio of the two", f"{times:.2f}", "at most 1.1", verdict(times <= 1.1)]
    yield ["B3 requests to a failing host in a run, mean", shown(faulty, "requests_per_bad_host", 1), "", ""]
    most = max(run["most_requests_at_a_bad_host"] for run in faulty)
    # Five failures make a host fail, a window's worth may be under way then, and a probe a minute follows.
    yield ["B3 most requests to one failing host in a run", shown(faulty, "most_requests_at_a_bad_host"), "5 + 2 + a probe a minute",
           verdict(most <= 8)]


def lines_b4(results):
    runs = results["b4"]
    p50, p99 = median(runs, "p50")[0] * 1e3, median(runs, "p99")[0] * 1e3
    yield ["B4 Follow, commit to arrival, p50, ms", shown([{"x": run["p50"] * 1e3} for run in runs], "x", 1), "at most 50", verdict(p50 <= 50)]
    yield ["B4 Follow, commit to arrival, p99, ms", shown([{"x": run["p99"] * 1e3} for run in runs], "x", 1), "at most 250", verdict(p99 <= 250)]
    yield ["B4 Follows / bulk deliveries meanwhile", f"{shown(runs, 'follows')} / {shown(runs, 'bulk_deliveries')}", "", ""]


def lines_b5(results):
    run = results["b5"][-1]
    yield [f"B5 {run['kills']} kills, {run['deliveries']:,} deliveries: lost", str(run["lost"]), "0", verdict(run["lost"] == 0)]
    yield ["B5 healthy rows dead", str(run["dead"]), "0", verdict(run["dead"] == 0)]
    under_way = statistics.mean(run["under_way_at_kills"])
    yield ["B5 repeated on the wire, per kill", f"{run['repeated_per_kill']:.1f}", f"under way ({under_way:.0f} a kill) + 200",
           verdict(run["repeated"] <= run["repeated_at_most"])]


def lines_b6(results):
    runs = results["b6"]
    accepted, inversions = median(runs, "creates_accepted")[1], sum(run["inversions"] for run in runs)
    same = all(run["end_states"] == run["end_states_equal"] for run in runs)
    yield ["B6 Creates accepted", shown(runs, "creates_accepted", 3), "at least 0.9", verdict(accepted >= 0.9)]
    repeated = sum(run["repeated"] for run in runs)
    yield ["B6 inversions, and what came twice", f"{inversions}, {repeated}", "0", verdict(inversions + repeated == 0)]
    yield ["B6 end states equal to the database's", "all" if same else "not all", "all", verdict(same)]


def lines_b7(results):
    hosts = results["b7"][-1]["hosts"]
    for says, words in ((True, "with Retry-After"), (False, "without")):
        mine = [host for host in hosts if host["says_retry_after"] == says]
        goodput, refused = median(mine, "goodput"), median(mine, "refused")
        yield [f"B7 goodput at 5 a second, {words}", shown(mine, "goodput", 2), "at least 0.9", verdict(goodput[1] >= 0.9)]
        yield [f"B7 refused after the first minute, {words}", shown(mine, "refused", 3), "under 0.05", verdict(refused[2] < 0.05)]


def lines_b8(results):
    run = results["b8"][-1]
    yield ["B8 deliveries waiting after two hours down (of a clock 60 times as fast)", f"{run['waiting']:,}", "100,000", ""]
    yield ["B8 first delivery after the return, seconds of that clock", f"{run['first_after_in_that_clock']:.0f}", "at most 60",
           verdict(run["first_after_in_that_clock"] <= 60)]
    yield ["B8 time to drain over the minimum (B1's rate)", f"{run['ratio']:.2f}", "at most 1.5", verdict(run["ratio"] <= 1.5)]
    spent = run["cpu_us_of"]
    yield ["B8 CPU per delivery: delivery, PostgreSQL, µs", f"{spent['delivery']:.0f}, {spent['postgres']:.0f}", "", ""]
    yield ["B8 most requests at once at one host", str(run["most_at_once_at_one_host"]), "window of 16",
           verdict(run["most_at_once_at_one_host"] <= 16)]
    yield ["B8 dead", str(run["dead"]), "0", verdict(run["dead"] == 0)]


def lines_b9(results):
    one = results["b9_1"]
    for workers in (1, 2, 4):
        runs = results[f"b9_{workers}"]
        times = ratio(runs, one, "per_second")
        yield [f"B9 {workers} workers, deliveries a second", shown(runs, "per_second"), f"{0.85 * workers:.2f} times one",
               f"{times:.2f} times: {verdict(times >= 0.85 * workers or workers == 1)}"]
        cost = ratio(runs, one, "cpu_us")
        yield [f"B9 {workers} workers, CPU per delivery, µs", shown(runs, "cpu_us"), "flat", f"{cost:.2f} times: {verdict(cost <= 1.1)}"]


def lines_memory(results):
    run = results["memory"][-1]
    size = run["peak_bytes"] / 1e6
    yield [f"Memory of a worker, {run['waiting']:,} waiting, {run['hosts_known']:,.0f} hosts known, MB", f"{size:.0f}", "at most 300", verdict(size <= 300)]


PARTS = [("b1", lines_b1), ("b3", lines_b3), ("b4", lines_b4), ("b5", lines_b5), ("b6", lines_b6), ("b7", lines_b7),
         ("b8", lines_b8), ("b9_4", lines_b9), ("memory", lines_memory)]


def write(folder, about, results, plots=True):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"machine": about, "results": results}))
    text = [f"# Delivery, {about['date']}", "",
            f"Command: `make bench-delivery` ({about['asked']}). Machine: {about['cores']} cores ({about['cpu']}), {about['memory_gib']} GiB, Linux "
            f"{about['kernel']}, load {about['load_at_start']:.1f} at the start; commit {about['commit']}. Sender, sink and stores share "
            "the cores. Medians, in brackets the lowest and highest run; ratios are medians of the ratios of neighbouring runs. The "
            f"database {about['database']}; PostgreSQL with shared_buffers 2 GB, max_wal_size "
            "8 GB, checkpoint_timeout 15 min and wal_compression, everything else as it comes.", "", "| what | measured | limit | |", "|---|---|---|---|"]
    for name, lines in PARTS:
        if name in results:
            text += ["| " + " | ".join(line) + " |" for line in lines(results)]
    drawn = draw(folder, results) if plots else []
    text += [""] + [f"![{name}]({name}.svg)" for name in drawn]
    (folder / "report.md").write_text("\n".join(text) + "\n")


def draw(folder, results):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    matplotlib.rcParams["svg.hashsalt"] = "tidegate"
    drawn = []

    def save(name, title, x, y):
        plt.title(title)
        plt.xlabel(x)
        plt.ylabel(y)
        plt.grid(alpha=0.3)
        plt.tight_layout()
        plt.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close()
        drawn.append(name)

    def curve(lags, **style):
        ordered = sorted(lag * 1e3 for lag in lags)
        plt.plot(ordered, [number / len(ordered) for number in range(1, len(ordered) + 1)], **style)
    plt.figure(figsize=(7, 4))
    if "b1" in results:
        parts = ["delivery", "fanout", "api", "postgres", "rabbitmq", "simulator"]
        bottom = 0
        for name in parts:
            value = statistics.median(run["cpu_us_of"].get(name, 0) for run in results["b1"])
            plt.bar("Tidegate", value, bottom=bottom, label=name)
            bottom += value
        plt.bar("bare POST", median(results["bare"], "cpu_us")[0], color="grey")
        plt.legend(fontsize=8)
        save("b1-cpu", "CPU per delivery, process by process", "", "µs")
    if "b3" in results:
        plt.figure(figsize=(7, 4))
        for faulty, colour in ((False, "tab:blue"), (True, "tab:red")):
            for number, run in enumerate(run for run in results["b3"] if run["faulty"] == faulty):
                label = ("a quarter failing" if faulty else "all well") if number == 0 else None
                curve(run["lags"], color=colour, alpha=0.5, label=label)
        plt.xscale("log")
        plt.legend()
        save("b3-lag", "Commit to arrival at healthy hosts", "ms", "share")
    if "b4" in results:
        plt.figure(figsize=(7, 4))
        for run in results["b4"]:
            curve(run["lags"], color="tab:blue", alpha=0.5)
        for limit in (50, 250):
            plt.axvline(limit, color="grey", linestyle="--")
        plt.xscale("log")
        save("b4-lag", "Follows beside posts to 10,000 inboxes: commit to arrival", "ms", "share")
    if "b8" in results:
        plt.figure(figsize=(7, 4))
        series = results["b8"][-1]["series"]
        plt.plot([at for at, _ in series], [count for _, count in series])
        save("b8-drain", "After an outage: deliveries arrived", "s after the return", "deliveries")
    if "b9_4" in results:
        plt.figure(figsize=(7, 4))
        workers = [1, 2, 4]
        rates = [median(results[f"b9_{count}"], "per_second")[0] for count in workers]
        plt.plot(workers, rates, marker="o", label="measured")
        plt.plot(workers, [rates[0] * 0.85 * count for count in workers], linestyle="--", color="grey", label="0.85 N")
        plt.legend()
        save("b9-scale", "50 requests under way each, hosts 200 ms away", "workers", "deliveries/s")
    return drawn
