"""B5, B6, B8 and memory: nothing is lost, nothing overtakes, the backlog goes quickly and fits."""

import base64
import hashlib
import json
import os
import random
import threading
import time
import urllib.request

from ceiling import FAN, quiet
from isolation import reset
from processes import memory_bytes, until
from world import difference, shard_of, text


BATCH = 200


def kills(world, hosts, times, seed=1):
    """B5: one of two delivery processes is killed, again and again, while posts go out."""
    quiet(world)
    world.restart_delivery(2)
    author, suffix = FAN["http"]
    world.sim.people(suffix, hosts, latency_millis=100)
    since, stop, chance = time.time(), threading.Event(), random.Random(seed)
    posts = []

    def posting():
        while not stop.is_set():
            # Enough that something is under way at every kill, not so much that it piles up.
            if world.waiting() < 3 * hosts:
                posts.append(world.post(author, text(len(posts))))
            stop.wait(0.05)
    poster = threading.Thread(target=posting)
    poster.start()
    waiting, under_way = [], []
    for number in range(times):
        until("work under way", lambda: world.waiting() > hosts // 2, 60)
        time.sleep(chance.uniform(0.2, 1.5))
        key = "delivery" if number % 2 == 0 else "delivery1"
        waiting.append(world.waiting())
        under_way.append(requests_under_way(29403 + number % 2))
        world.roles.pop(key).kill()
        world.role("delivery", number % 2)
        print(f"  kill {number + 1} of {times}, {waiting[-1]} deliveries waiting, {under_way[-1]:.0f} under way", flush=True)
    stop.set()
    poster.join()
    until("everything", lambda: world.waiting() == 0, 240, 0.5)
    arrivals = world.sim.arrivals()
    wanted = world.number(f"""select count(*) from deliveries d join activities a on a.id = d.activity_id
                              where a.created_at >= to_timestamp({since})""")
    taken = sum(1 for row in arrivals if row[4] > 0)
    twice = sum(row[4] - 1 for row in arrivals if row[4] > 1)
    dead = world.number(f"select count(*) from deliveries d join activities a on a.id = d.activity_id "
                        f"where a.created_at >= to_timestamp({since}) and d.state = 'dead'")
    world.command("admin", "verify-deliveries")
    world.sim.people(suffix, hosts)
    world.restart_delivery()
    return {"kills": times, "posts": len(posts), "deliveries": wanted, "arrived": taken, "lost": wanted - taken,
            "repeated": twice, "repeated_per_kill": twice / times, "dead": dead,
            # One outcome batch may be unwritten beside what was under way; the gauge is read a moment before.
            "repeated_at_most": sum(each + BATCH for each in under_way),
            "waiting_at_kills": waiting, "under_way_at_kills": under_way}


def activity(world, author, kind, key, seq, hosts_of):
    """SQL that commits an activity as the api does, planned by the fanout role."""
    uri = f"http://us.test/bench/{key}/{seq}"
    body = json.dumps({"@context": "https://www.w3.org/ns/activitystreams", "id": uri, "type": kind,
                       "actor": "http://us.test/users/order", "object": f"http://us.test/bench/{key}"})
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return f"""
        with added as (
            insert into activities (uri, kind, account_id, order_key, seq, lane, body, digest, to_followers_of)
            values ('{uri}', '{kind}', {author}, '{key}', {seq}, 'bulk', convert_to('{body}', 'UTF8'), '{digest}', {hosts_of})
            returning id)
        insert into outbox (queue, payload, lease_owner, leased_until)
        select 'tidegate.plan', jsonb_build_object('type', 'plan', 'activity_id', id), gen_random_uuid(), now() from added;"""


def order(world, objects=500, hosts=5, seed=1):
    """B6: Create, three Updates, Delete on half, at hosts of whose answers a fifth is 503."""
    quiet(world)
    chance = random.Random(seed)
    author = world.author("order")
    world.sim.people("order.test", hosts)
    world.remote("order.test", hosts)
    world.followers(author, "order.test", hosts)
    for host in range(hosts):
        script = [{"fault": {"kind": "status", "code": 503} if chance.random() < 0.2 else {"kind": "ok"}, "times": 1}
                  for _ in range(objects * 8)]
        world.sim.behave(f"h{host}.order.test", inbox=script)
    world.restart_delivery(TIDEGATE_DELIVERY__HURRY="600")
    run = f"{time.time_ns()}"
    statements = []
    for number in range(objects):
        key = f"bench:{run}:{number}"
        kinds = ["Create", "Update", "Update", "Update"] + (["Delete"] if number % 2 else [])
        statements.append([activity(world, author, kind, key, seq, author) for seq, kind in enumerate(kinds, 1)])
    # Mixed among objects; within one its own order, as commits have it.
    queue = []
    while statements:
        own = chance.choice(statements)
        queue.append(own.pop(0))
        if not own:
            statements.remove(own)
    seqs = len(queue)
    for start in range(0, seqs, 100):
        world.sql("".join(f"begin;{one}commit;" for one in queue[start:start + 100]))
    until("the plans", lambda: world.number("select count(*) from activities where planned_at is null") == 0, 120, 0.3)
    until("the deliveries", lambda: world.waiting() == 0, 300, 0.5)
    firsts, repeated = {}, 0
    for host, _inbox, uri, _attempts, taken, first in world.sim.arrivals():
        if f"bench:{run}:" in uri and taken:
            # Nobody dies here: what came twice came out of order, wherever its second time was.
            repeated += taken - 1
            key, seq = uri.rsplit("/", 1)
            firsts.setdefault((host, key), []).append((first, int(seq)))
    inversions = sum(1 for each in firsts.values()
                     for (_, before), (_, after) in zip(sorted(each), sorted(each)[1:]) if after < before)
    creates = sum(1 for each in firsts.values() if any(seq == 1 for _, seq in each))
    ends = world.rows(f"select host, order_key, max(seq) from deliveries where order_key like 'bench:{run}:%' and state = 'delivered' group by 1, 2")
    same = sum(1 for host, key, seq in ends
               if max(firsts.get((host, f"http://us.test/bench/{key}"), [(0, 0)]))[1] == int(seq))
    states = dict(world.rows(f"select state, count(*) from deliveries where order_key like 'bench:{run}:%' group by 1"))
    reset(world)
    return {"objects": objects, "activities": seqs, "hosts": hosts, "creates_accepted": creates / (objects * hosts),
            "inversions": inversions, "repeated": repeated, "end_states": len(ends), "end_states_equal": same,
            "states": {state: int(count) for state, count in states.items()}}


def outage(world, hosts, activities, best_per_second, hurry=60, down=120):
    """B8: everything is down for two hours of a clock that runs sixty times as fast."""
    quiet(world)
    world.restart_delivery(TIDEGATE_DELIVERY__HURRY=str(hurry))
    author, suffix = FAN["http"]
    # Connections as in ordinary operation.
    world.post(author, text(0))
    until("the first", lambda: world.waiting() == 0, 60)
    world.sim.process.stop(5)
    start = time.time()
    world.post_all(author, [text(number) for number in range(activities)])
    until("the plans", lambda: world.waiting() >= hosts * activities, 120, 0.5)
    time.sleep(max(0, start + down - time.time()))
    waiting = world.waiting()
    world.sim.start()
    back, cpu = time.time(), world.cpu()
    series = []

    def drained():
        series.append((time.time() - back, world.sim.effects()))
        return world.waiting() == 0
    until("the backlog", drained, 600, 1.0)
    spent = difference(world.cpu(), cpu)
    rows = [row[5] for row in world.sim.arrivals() if row[4]]
    crowd = max(world.sim.tell("GET", "/crowds")["most_at_once"].values())
    dead = world.number(f"select count(*) from deliveries d join activities a on a.id = d.activity_id "
                        f"where a.created_at >= to_timestamp({start}) and d.state = 'dead'")
    total = max(rows) - back
    world.restart_delivery()
    return {"waiting": waiting, "arrived": len(rows), "first_after": min(rows) - back,
            "first_after_in_that_clock": (min(rows) - back) * hurry, "seconds": total,
            "cpu_us_of": {name: value / waiting * 1e6 for name, value in spent.items()}, "load": os.getloadavg()[0],
            "minimum_seconds": waiting / best_per_second, "ratio": total / (waiting / best_per_second),
            "most_at_once_at_one_host": crowd, "dead": dead, "series": series}


def memory(world, deliveries=1_000_000, hosts=10_000, seconds=120):
    """A worker with a million deliveries waiting at ten thousand hosts, all of them failing and probed."""
    quiet(world)
    world.roles.pop("delivery").stop()
    author = world.author("memory")
    each = deliveries // hosts
    world.sql(f"""
        insert into inboxes (url, host, shared)
        select format('http://h%s.mem.refuse.test/inbox', n), format('h%s.mem.refuse.test', n), true
        from generate_series(0, {hosts - 1}) as n on conflict do nothing;
        insert into activities (uri, kind, account_id, order_key, seq, lane, body, digest, planned_at, planned_count, published_at)
        select 'http://us.test/bench/memory/' || n, 'Like', {author}, 'memory:' || n, 1, 'bulk',
               convert_to(repeat('x', 2048), 'UTF8'), 'none', now(), {hosts}, now()
        from generate_series(1, {each}) as n;
        insert into deliveries (activity_id, inbox_id, host, shard, lane, order_key, seq, state, reason)
        select a.id, i.id, i.host, 0, 'bulk', a.order_key, 1, 'parked', 'host'
        from activities a, inboxes i where a.order_key like 'memory:%' and i.host like '%.mem.refuse.test';
        insert into hosts (host, shard, state, failing_since, next_probe_at, probe_interval, backlog)
        select host, 0, 'failing', now(), now(), 60, true from inboxes where host like '%.mem.refuse.test'
        on conflict (host) do update set state = 'failing', next_probe_at = now(), probe_interval = 60, backlog = true;""")
    own_shards(world, hosts)
    waiting = world.waiting()
    process = world.role("delivery")
    world.until_shards(1)
    resident, known = [], []
    for _ in range(seconds):
        time.sleep(1)
        resident.append(memory_bytes(process.pid))
        known.append(metric(29403, "tidegate_delivery_hosts_in_memory"))
    peak = memory_bytes(process.pid, "VmHWM")
    world.roles.pop("delivery").stop()
    world.sql("""delete from deliveries where order_key like 'memory:%'; delete from activities where order_key like 'memory:%';
                 delete from hosts where host like '%.mem.refuse.test';""")
    world.role("delivery")
    world.until_shards(1)
    return {"waiting": waiting, "hosts_known": max(known), "resident_bytes": max(resident), "peak_bytes": peak}


def metric(port, name):
    """A metric of a role, all of its series together."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + " ", name + "{")))


def requests_under_way(port):
    return metric(port, "tidegate_delivery_in_flight")


def own_shards(world, hosts):
    """Puts each host into the shard that is its own."""
    names = (f"h{number}.mem.refuse.test" for number in range(hosts))
    rows = "\n".join(f"{name}\t{shard_of(name)}" for name in names)
    world.sql(f"""create temporary table own (host text primary key, shard int);
copy own from stdin;
{rows}
\\.
update hosts h set shard = own.shard from own where own.host = h.host;
update deliveries d set shard = own.shard from own where own.host = d.host and d.order_key like 'memory:%';
""")
