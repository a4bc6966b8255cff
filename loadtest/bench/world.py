"""The instance under test with its stores, its people, and the simulated fediverse around it."""

import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import threading
import time

from processes import Process, answers, cpu_seconds, until

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Ports of our own, away from those of `make run` and `make servers`.
API, SIM, CONTROL, TLS, FEDIFY = 23000, 23901, 23902, 23903, 23910
NOBODY = 23999  # Nothing listens here: whoever is there refuses.


class Sim:
    """The simulator, steered over HTTP."""

    def __init__(self, binary, folder):
        self.ca = folder / "sim-ca.pem"
        command = [binary, "sim", "--listen", f"127.0.0.1:{SIM}", "--control", f"127.0.0.1:{CONTROL}",
                   "--resolve", f"us.test=127.0.0.1:{API}", "--tls-listen", f"127.0.0.1:{TLS}",
                   "--tls-ca", str(self.ca), "--tls-suffix", "tls.test",
                   # Before it knows its hosts it is busy: a refusal for good would be one of the host's.
                   "--strangers", "503"]
        env = dict(os.environ, RUST_LOG="warn")
        self.process = Process("simulator", [str(part) for part in command], env, folder / "sim.log")
        self.hosts = {}

    def start(self):
        self.process.start()
        until("the simulator", lambda: answers(f"http://127.0.0.1:{CONTROL}/health"))
        for host, order in self.hosts.items():
            self.tell("POST", "/actors/bulk", order)

    def tell(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", CONTROL, timeout=120)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]}")
        return json.loads(text) if answer.getheader("content-type", "").startswith("application/json") else text.decode()

    def people(self, suffix, hosts, per_host=1, **behaviour):
        """Hosts h0.suffix ... with users u0 ...; asked for again, they only change their behaviour."""
        order = {"suffix": suffix, "hosts": hosts, "per_host": per_host, "shared_inbox": True,
                 "behaviour": {"signatures": {"sample": {"one_in": 100}}, **behaviour}}
        self.hosts[suffix] = order
        self.tell("POST", "/actors/bulk", order)

    def behave(self, host, **behaviour):
        self.tell("POST", "/hosts", {"host": host, "behaviour": {"signatures": {"sample": {"one_in": 100}}, **behaviour}})

    def clear(self):
        self.tell("DELETE", "/ledger")
        self.tell("DELETE", "/crowds")

    def effects(self):
        return self.tell("GET", "/health")["effects"]

    def arrivals(self):
        """(host, inbox, activity, attempts, taken, first taken in seconds) of everything that came."""
        rows = []
        for line in self.tell("GET", "/arrivals.csv").splitlines()[1:]:
            host, inbox, activity, attempts, taken, micros = line.split(",")
            rows.append((host, inbox, activity, int(attempts), int(taken), int(micros) / 1e6))
        return rows


class World:
    """Everything. `settings`: of the servers that `deploy/scripts/servers start` started."""

    def __init__(self, folder, binaries, settings, psql):
        self.folder, self.psql = folder, psql
        self.tidegate = binaries / "tidegate"
        self.sim = Sim(binaries / "tidegate-loadtest", folder)
        self.loadtest = binaries / "tidegate-loadtest"
        self.settings = settings
        self.roles = {}
        self.tokens = {}
        self.stores = {}

    # --- settings and processes

    def env(self, **more):
        host_map = f".tls.test=127.0.0.1:{TLS},.refuse.test=127.0.0.1:{NOBODY},.test=127.0.0.1:{SIM}"
        env = dict(
            os.environ, **self.settings,
            TIDEGATE_DATA_DIR=str(self.folder / "data"), TIDEGATE_INSTANCE__DOMAIN="us.test",
            TIDEGATE_INSTANCE__BASE_URL="http://us.test", TIDEGATE_HTTP__LISTEN=f"127.0.0.1:{API}",
            TIDEGATE_EGRESS__ALLOW_PLAIN_HTTP="true", TIDEGATE_EGRESS__HOST_MAP=host_map,
            TIDEGATE_EGRESS__EXTRA_CA_FILES=str(self.sim.ca), TIDEGATE_RPC__FANOUT="http://127.0.0.1:24402",
            TIDEGATE_RPC__DELIVERY="http://127.0.0.1:24403", TIDEGATE_LOG__FILTER="warn",
        )
        env.update(more)
        return env

    def role(self, name, number=0, **more):
        """Starts a role; delivery may be started several times."""
        ports = {"api": 0, "fanout": 2, "delivery": 3}[name] + number
        env = self.env(TIDEGATE_METRICS__LISTEN=f"127.0.0.1:{29400 + ports}",
                       TIDEGATE_RPC__LISTEN=f"127.0.0.1:{24400 + ports}", **more)
        key = name if number == 0 else f"{name}{number}"
        command = [str(self.tidegate), "run", "--role", name]
        self.roles[key] = Process(key, command, env, self.folder / f"{key}.log").start()
        ready = f"http://127.0.0.1:{29400 + ports}/health/ready"
        until(f"{key} to be ready (see {self.folder / key}.log)", lambda: answers(ready), 90)
        return self.roles[key]

    def start(self, **delivery):
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.sim.start()
        self.command("migrate")
        for name in ("api", "fanout"):
            self.role(name)
        self.role("delivery", **delivery)
        self.until_shards(1)

    def stop(self):
        for process in reversed(list(self.roles.values())):
            process.stop()
        self.roles.clear()
        self.sim.process.stop()

    def restart_delivery(self, count=1, **settings):
        """Delivery anew, `count` processes of it, with these settings."""
        for name in [name for name in self.roles if name.startswith("delivery")]:
            self.roles.pop(name).stop()
        for number in range(count):
            self.role("delivery", number, **settings)
        self.until_shards(count)

    def until_shards(self, holders):
        """Every shard has a holder, and they have even shares."""
        def is_settled():
            rows = self.rows("select count(*) from shard_leases where holder is not null and expires_at > now() group by holder")
            counts = [int(row[0]) for row in rows]
            return len(counts) == holders and sum(counts) == 32 and max(counts) - min(counts) <= 1
        until(f"{holders} delivery processes to share the shards", is_settled, 60, 0.2)

    def command(self, *arguments):
        done = subprocess.run([str(self.tidegate), *arguments], env=self.env(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"tidegate {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    # --- the database

    def sql(self, text):
        done = subprocess.run([self.psql, self.settings["TIDEGATE_DATABASE__URL"], "-qAtXF\t", "-v", "ON_ERROR_STOP=1"],
                              input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{done.stderr}\n{text[:500]}")
        return done.stdout

    def rows(self, text):
        return [line.split("\t") for line in self.sql(text).splitlines()]

    def number(self, text):
        return int(self.sql(text) or 0)

    def waiting(self, more="true"):
        """Deliveries without an end. Spelled as the index has it: it is asked all the time."""
        return self.number(f"""
            select count(*) from deliveries
            where coalesce(state in ('queued', 'parked', 'dead'), false) and state <> 'dead' and {more}""")

    # --- people

    def author(self, name):
        """A local account with a token; made once, kept for the next run."""
        found = self.sql(f"select id from accounts where username = '{name}' and domain is null").strip()
        if not found:
            self.command("admin", "account", "create", "--username", name, "--email", f"{name}@us.test", "--confirmed")
            found = self.sql(f"select id from accounts where username = '{name}' and domain is null").strip()
        token = f"bench-token-{name}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.sql(f"""
            insert into apps (name, redirect_uris, scopes, client_id, client_secret_hash)
            values ('bench', '{{}}', '{{read,write,follow}}', 'bench', '') on conflict (client_id) do nothing;
            insert into tokens (token_hash, app_id, user_id, scopes)
            select '\\x{digest}', (select id from apps where client_id = 'bench'), u.id, '{{read,write,follow}}'
            from users u where u.account_id = {found} on conflict (token_hash) do nothing;""")
        self.tokens[name] = token
        return int(found)

    def remote(self, suffix, hosts, per_host=1, scheme="http"):
        """Rows for the simulator's people, as if they had been met before."""
        self.sql(f"""
            insert into accounts (username, domain, uri, url, inbox_url, shared_inbox_url, key_id, public_key_pem)
            select 'u' || u, host, base || '/users/u' || u, base || '/@u' || u, base || '/users/u' || u || '/inbox',
                   base || '/inbox', base || '/users/u' || u || '#main-key', ''
            from generate_series(0, {hosts - 1}) as h, generate_series(0, {per_host - 1}) as u
            cross join lateral (select format('h%s.{suffix}', h) as host, format('{scheme}://h%s.{suffix}', h) as base) as b
            on conflict do nothing;""")

    def followers(self, author, suffix, hosts, shared=True):
        """Everybody of a suffix's hosts follows the author, by shared or by personal inboxes."""
        column = "shared_inbox_url" if shared else "inbox_url"
        self.sql(f"""
            insert into inboxes (url, host, shared)
            select distinct {column}, domain, {shared} from accounts where domain like '%.{suffix}' on conflict do nothing;
            -- Only those of this run: an earlier one may have had more hosts.
            delete from follows f using accounts a
            where f.target_id = {author} and a.id = f.account_id and a.domain like '%.{suffix}';
            insert into follows (account_id, target_id, uri, state, inbox_id)
            select a.id, {author}, a.uri || '#follows/{author}', 'accepted', i.id
            from accounts a join inboxes i on i.url = a.{column}
            where a.domain like '%.{suffix}' and substring(a.domain from '^h([0-9]+)')::int < {hosts};
            update accounts set followers_count = (select count(*) from follows where target_id = {author}) where id = {author};
            analyze follows;""")

    # --- the client API

    def call(self, token, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", API, timeout=60)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"authorization": f"Bearer {token}", "content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def post(self, name, text):
        return self.call(self.tokens[name], "POST", "/api/v1/statuses", {"status": text, "visibility": "public"})["id"]

    def post_all(self, name, texts, at_once=5):
        """Posts these, some at a time."""
        texts, lock, failures = list(texts), threading.Lock(), []

        def work():
            while True:
                with lock:
                    if not texts:
                        return
                    text = texts.pop()
                try:
                    self.post(name, text)
                except (OSError, RuntimeError) as error:
                    failures.append(error)
        threads = [threading.Thread(target=work) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    # --- CPU time

    def cpu(self):
        """CPU seconds so far: of Tidegate role by role, the simulator and each store."""
        spent = {name: process.cpu() for name, process in self.roles.items()}
        spent["simulator"] = self.sim.process.cpu()
        for name, pid in self.stores.items():
            spent[name] = cpu_seconds(pid)
        return spent


def shard_of(host, count=32):
    """The shard of a host, by the hash that the model crate documents (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in host.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return (value >> 32) % count


def difference(after, before):
    return {name: after[name] - before.get(name, 0.0) for name in after}


# 500 characters, of which this many take two bytes: the Create of such a post is 2 kB long.
LONG = "ä" * 250


def text(number):
    """A post whose activity has about two kilobytes."""
    head = f"{number} {time.time_ns()} "
    return (head + LONG + "b" * 500)[:500]
