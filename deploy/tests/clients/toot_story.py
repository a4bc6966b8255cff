"""The command-line client toot, as a person types it: log in, post, read, follow.

Arguments: the toot program, base URL, e-mail, password, a handle on another server to follow.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

from browser import authorization_code


def main(toot, base_url, email, password, neighbour):
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "NO_COLOR": "1"}

        def run(*args, **kwargs):
            done = subprocess.run(
                [toot, "--no-color", *args], env=env, text=True, capture_output=True, timeout=60, **kwargs
            )
            assert done.returncode == 0, f"toot {' '.join(args)}: {done.stdout}{done.stderr}"
            return done.stdout

        log_in(toot, env, base_url, email, password)
        who = run("whoami")
        print(who.splitlines()[0])

        words = "The tide is going out."
        run("post", words)
        deadline = time.monotonic() + 20
        while words not in (timeline := run("timelines", "home", "--no-pager", "--no-clear")):
            assert time.monotonic() < deadline, f"the post is not on home: {timeline}"
            time.sleep(0.3)

        assert neighbour.split("@")[0] in run("search", neighbour, "--resolve")
        run("follow", neighbour)
        run("instance")
        run("notifications")
        print(f"toot story: logged in, posted, read home, followed {neighbour}")


def log_in(toot, env, base_url, email, password):
    """`toot login`, with the browser part done on the real pages."""
    process = subprocess.Popen(
        [toot, "--no-color", "login", "--instance", base_url],
        env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    seen = ""
    while not (link := re.search(r"https?://\S*/oauth/authorize\S*", seen)):
        line = process.stdout.readline()
        assert line, f"toot ended before it showed a link: {seen}"
        seen += line
    code = authorization_code(link.group(0), email, password)
    rest, _ = process.communicate(f"n\n{code}\n", timeout=60)
    assert process.returncode == 0, f"toot login: {seen}{rest}"


if __name__ == "__main__":
    main(*sys.argv[1:])
