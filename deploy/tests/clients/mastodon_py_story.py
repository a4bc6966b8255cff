"""Mastodon.py as a person's script uses it: register, sign in, post, read, follow.

Arguments: base URL, e-mail, password, a handle on another server to follow.
"""

import sys
import time

from mastodon import Mastodon, MastodonNotFoundError

from browser import authorization_code

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = ["read", "write", "follow", "push"]


def wait_for(what, check, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = check()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def main(base_url, email, password, neighbour):
    client_id, client_secret = Mastodon.create_app(
        "story", scopes=SCOPES, redirect_uris=OUT_OF_BAND, api_base_url=base_url
    )
    api = Mastodon(client_id=client_id, client_secret=client_secret, api_base_url=base_url)
    # The test instance speaks plain http on loopback; the library wants to be told.
    link = api.auth_request_url(redirect_uris=OUT_OF_BAND, scopes=SCOPES, allow_http=True)
    api.log_in(code=authorization_code(link, email, password), redirect_uri=OUT_OF_BAND, scopes=SCOPES, allow_http=True)
    me = api.account_verify_credentials()
    assert me.acct == me.username and me.source is not None

    instance = api.instance_v2()
    assert instance.configuration.statuses.max_characters == 500
    assert api.instance_v1().stats.user_count >= 1

    post = api.status_post("Hello from a script, with a #tag.", spoiler_text="words", idempotency_key="story-1")
    again = api.status_post("Hello from a script, with a #tag.", spoiler_text="words", idempotency_key="story-1")
    assert again.id == post.id, "the same Idempotency-Key made a second post"
    assert [tag.name for tag in post.tags] == ["tag"]
    wait_for("the post on home", lambda: [s for s in api.timeline_home() if s.id == post.id])
    assert api.status(post.id).content == post.content

    reply = api.status_reply(post, "An answer to myself.")
    context = api.status_context(post.id)
    assert [status.id for status in context.descendants] == [reply.id]

    assert api.status_favourite(post.id).favourited
    assert not api.status_unfavourite(post.id).favourited
    boost = api.status_reblog(post.id)
    assert boost.reblog.id == post.id
    assert not api.status_unreblog(post.id).reblogged

    found = api.search_v2(neighbour, resolve=True, result_type="accounts").accounts
    assert found, f"{neighbour} was not found"
    other = found[0]
    relation = api.account_follow(other.id)
    assert relation.following or relation.requested
    wait_for("the follow to be accepted", lambda: api.account_relationships(other.id)[0].following)
    assert [account.id for account in api.account_following(me.id)] == [other.id]

    pages = api.account_statuses(me.id, limit=1)
    older = api.fetch_next(pages)
    assert older and older[0].id < pages[0].id, "paging by Link does not move on"

    assert api.notifications() == [] or all(n.id for n in api.notifications())
    assert api.lists() == [] and api.filters_v2() == []

    gone = api.status_delete(reply.id)
    assert gone.text.endswith("An answer to myself."), gone.text
    try:
        api.status(reply.id)
    except MastodonNotFoundError:
        pass
    else:
        raise AssertionError("a deleted post was still shown")

    api.revoke_access_token(allow_http=True)
    print(f"Mastodon.py story: signed in as {me.acct}, posted {post.id}, followed {other.acct}")


if __name__ == "__main__":
    main(*sys.argv[1:])
