"""B3, B4, B7: what one host's trouble costs the others."""

import random
import statistics
import threading
import time

from ceiling import quiet
from processes import until
from world import shard_of, text

HEALTHY, SILENT, BUSY, REFUSING = 150, 20, 10, 20


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def commits(world, since):
    """When each activity was committed, by its id, in seconds of Unix time."""
    rows = world.rows(f"select uri, extract(epoch from created_at) from activities where created_at >= to_timestamp({since})")
    return {uri: float(at) for uri, at in rows}


def open_loop(world, name, per_second, seconds):
    """Posts at a steady rate whatever becomes of them."""
    threads, start = [], time.monotonic()
    for number in range(max(1, int(per_second * seconds))):
        delay = start + number / per_second - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        threads.append(threading.Thread(target=world.post, args=(name, text(number))))
        threads[-1].start()
    for thread in threads:
        thread.join()


def prepare(world):
    world.sim.people("mixed.test", HEALTHY + SILENT + BUSY)
    world.remote("mixed.test", HEALTHY + SILENT + BUSY)
    author = world.author("mixed")
    world.followers(author, "mixed.test", HEALTHY + SILENT + BUSY)
    world.remote("refuse.test", REFUSING)
    world.followers(author, "refuse.test", REFUSING)
    # One host with a hundred personal inboxes: a hundred posts are ten thousand deliveries to it.
    world.sim.people("slow.test", 1, per_host=100)
    world.remote("slow.test", 1, per_host=100)
    world.followers(world.author("crowd"), "slow.test", 1, shared=False)


def failing_hosts(world, faulty, deliveries_per_second, seconds):
    """B3: p95 from commit to arrival at healthy hosts in the shards of others that fail, or of the same ones when
    all are well."""
    hosts = HEALTHY + SILENT + BUSY + REFUSING
    for host in range(HEALTHY, HEALTHY + SILENT):
        script = [{"fault": {"kind": "hang", "millis": 60_000}}] if faulty else []
        world.sim.behave(f"h{host}.mixed.test", inbox=script)
    for host in range(HEALTHY + SILENT, HEALTHY + SILENT + BUSY):
        script = [{"fault": {"kind": "status", "code": 503}}] if faulty else []
        world.sim.behave(f"h{host}.mixed.test", inbox=script)
    world.sim.people("slow.test", 1, per_host=100, latency_millis=2_000 if faulty else 0)
    world.sim.clear()
    since = time.time()
    if faulty:
        world.post_all("crowd", [text(number) for number in range(100)])
    open_loop(world, "mixed", deliveries_per_second / hosts, seconds)
    # A post that is not planned yet waits nowhere.
    until("the plans", lambda: world.number("select count(*) from activities where planned_at is null") == 0, 120, 0.3)
    until("the healthy ones", lambda: waiting_for_healthy(world) == 0, 120, 0.5)
    at = commits(world, since)
    shards = {shard_of(f"h{number}.mixed.test") for number in range(HEALTHY, HEALTHY + SILENT + BUSY)}
    shards |= {shard_of(f"h{number}.refuse.test") for number in range(REFUSING)}
    lags, probes = [], {}
    for host, _inbox, activity, attempts, taken, first in world.sim.arrivals():
        number = int(host[1:].split(".")[0]) if host.endswith(".mixed.test") else -1
        if 0 <= number < HEALTHY:
            if taken and activity in at and shard_of(host) in shards:
                lags.append(first - at[activity])
        elif number >= HEALTHY:
            probes[host] = probes.get(host, 0) + attempts
    reset(world)
    return {"faulty": faulty, "p50": percentile(lags, 0.5), "p95": percentile(lags, 0.95), "count": len(lags),
            "lags": [round(lag, 4) for lag in sorted(lags)[:: max(1, len(lags) // 400)]],
            "requests_per_bad_host": statistics.mean(probes.values()) if faulty and probes else 0.0,
            "most_requests_at_a_bad_host": max(probes.values(), default=0)}


def waiting_for_healthy(world):
    return world.waiting(f"host like '%.mixed.test' and substring(host from '^h([0-9]+)')::int < {HEALTHY}")


def reset(world):
    """Everybody is well again and nothing waits: the next run starts from the same state."""
    world.sim.people("mixed.test", HEALTHY + SILENT + BUSY)
    world.sim.people("slow.test", 1, per_host=100)
    world.sql("""
        update deliveries set state = 'cancelled', reason = 'bench', not_before = null where state in ('queued', 'parked');
        update hosts set state = 'ok', failing_since = null, next_probe_at = null, probe_interval = null, failed_days = '{}',
            backlog = false, rate = null, rate_until = null where state <> 'ok' or backlog or rate is not null;""")
    # What a delivery process remembers of hosts goes with it.
    world.restart_delivery()


def prepare_follows(world, hosts):
    world.sim.people("many.test", hosts, per_host=2)
    world.remote("many.test", hosts, per_host=2)
    famous = world.author("famous")
    world.sql(f"""
        insert into inboxes (url, host, shared)
        select distinct shared_inbox_url, domain, true from accounts where domain like '%.many.test' on conflict do nothing;
        insert into follows (account_id, target_id, uri, state, inbox_id)
        select a.id, {famous}, a.uri || '#follows/{famous}', 'accepted', i.id
        from accounts a join inboxes i on i.url = a.shared_inbox_url
        where a.domain like '%.many.test' and a.username = 'u0' on conflict do nothing; analyze follows;""")
    for number in range(10):
        world.author(f"fan{number}")


def follows_beside_posts(world, hosts, follows, per_second, seed):
    """B4: Follows go to random hosts while a famous account's posts go to all of them."""
    quiet(world)
    ids = [row[0] for row in world.rows("select id from accounts where domain like '%.many.test' and username = 'u1' order by id")]
    chosen = random.Random(seed).sample(ids, min(follows, len(ids)))
    world.sql("delete from follows where target_id in (select id from accounts where domain like '%.many.test' and username = 'u1')")
    since, done = time.time(), threading.Event()

    def posting():
        number = 0
        while not done.is_set():
            # The next one only when little of the last is left: there is always something in bulk.
            if number * hosts - world.sim.effects() < hosts // 2:
                world.post("famous", text(number))
                number += 1
            done.wait(0.3)
    poster = threading.Thread(target=posting)
    poster.start()
    until("bulk work", lambda: world.sim.effects() > 0, 30, 0.1)
    threads, start = [], time.monotonic()
    for number, account in enumerate(chosen):
        delay = start + number / per_second - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        token = world.tokens[f"fan{number % 10}"]
        threads.append(threading.Thread(target=world.call, args=(token, "POST", f"/api/v1/accounts/{account}/follow", {})))
        threads[-1].start()
    for thread in threads:
        thread.join()
    done.set()
    poster.join()
    until("all of it", lambda: world.waiting() == 0, 120, 0.5)
    kinds = dict(world.rows(f"select uri, kind from activities where created_at >= to_timestamp({since})"))
    at = commits(world, since)
    lags = [first - at[activity] for _h, _i, activity, _a, taken, first in world.sim.arrivals()
            if taken and kinds.get(activity) == "Follow"]
    bulk = sum(1 for row in world.sim.arrivals() if kinds.get(row[2]) == "Create")
    return {"follows": len(lags), "bulk_deliveries": bulk, "p50": percentile(lags, 0.5), "p99": percentile(lags, 0.99),
            "lags": [round(lag, 4) for lag in sorted(lags)[:: max(1, len(lags) // 400)]]}


def paces(world, hosts=7, allowed=5.0, warm=60, measured=120):
    """B7: hosts that take five a second and are offered ten; half of them say Retry-After."""
    suffixes = {"told.test": True, "untold.test": False}
    author = world.author("pacer")
    for suffix, says in suffixes.items():
        world.sim.people(suffix, hosts, per_host=10, takes_per_second=allowed, says_retry_after=says)
        world.remote(suffix, hosts, per_host=10)
        world.followers(author, suffix, hosts, shared=False)
    quiet(world)
    stop = threading.Event()

    def posting():
        number = 0
        while not stop.is_set():
            world.post("pacer", text(number))
            number += 1
            stop.wait(1.0)
    poster = threading.Thread(target=posting)
    poster.start()
    time.sleep(warm)
    before, start = totals(world), time.time()
    series = []
    while time.time() - start < measured:
        time.sleep(5)
        series.append({name: taken for name, (_attempts, taken) in totals(world).items()})
    seconds, after = time.time() - start, totals(world)
    stop.set()
    poster.join()
    world.sql("""update deliveries set state = 'cancelled', reason = 'bench', not_before = null
                 where state in ('queued', 'parked')""")
    runs = []
    for host, (attempts, taken) in after.items():
        tried, got = attempts - before.get(host, (0, 0))[0], taken - before.get(host, (0, 0))[1]
        runs.append({"says_retry_after": suffixes[host.split(".", 1)[1]], "goodput": got / (allowed * seconds),
                     "refused": (tried - got) / tried if tried else 0.0})
    reset(world)
    return {"hosts": runs, "series": series, "seconds": seconds}


def totals(world):
    """(requests, taken) of each host with a pace."""
    found = {}
    for host, _inbox, _activity, attempts, taken, _first in world.sim.arrivals():
        if host.endswith((".told.test", ".untold.test")):
            tried, got = found.get(host, (0, 0))
            found[host] = (tried + attempts, got + taken)
    return found
