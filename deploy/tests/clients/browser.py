"""What a person does in the browser: sign in and agree, on the real pages.

The forms are read from the pages themselves, hidden fields included, so that a page that a
person could not use fails here too.
"""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlparse

import requests


class FormReader(HTMLParser):
    """Collects the forms of a page with their fields."""

    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append(
                {"action": attrs.get("action", ""), "method": attrs.get("method", "get").lower(), "fields": {}}
            )
        elif tag in ("input", "button") and self.forms and attrs.get("name"):
            kind = attrs.get("type", "submit" if tag == "button" else "text")
            if kind == "submit":
                self.forms[-1].setdefault("buttons", []).append((attrs["name"], attrs.get("value", "")))
            elif kind != "checkbox" or "checked" in attrs:
                self.forms[-1]["fields"][attrs["name"]] = attrs.get("value", "")


def forms_of(html):
    reader = FormReader()
    reader.feed(html)
    return reader.forms


def submit(session, page, form, **values):
    """Sends a form of a page as a browser would, with the given fields filled in."""
    fields = {**form["fields"], **values}
    url = urljoin(page.url, form["action"] or page.url)
    # Credentials and consent never belong into a URL.
    assert form["method"] == "post", f"the form at {page.url} is not sent by POST"
    return session.post(url, data=fields)


def authorization_code(authorize_url, email, password):
    """Opens an authorization link, signs in, agrees, and returns the code that the page shows."""
    session = requests.Session()
    page = session.get(authorize_url)
    assert page.status_code == 200, f"the sign-in page answered {page.status_code}"
    sign_in = next(form for form in forms_of(page.text) if any("password" in name for name in form["fields"]))
    names = {("email" if "email" in name else "password"): name
             for name in sign_in["fields"] if "email" in name or "password" in name}
    page = submit(session, page, sign_in, **{names["email"]: email, names["password"]: password})
    assert page.status_code == 200, f"signing in answered {page.status_code}: {page.text[:500]}"
    consent = next(form for form in forms_of(page.text) if "/oauth/authorize" in (form["action"] or page.url))
    # The first button agrees; the one beside it does not.
    name, value = consent["buttons"][0]
    page = submit(session, page, consent, **{name: value})
    assert page.status_code == 200, f"agreeing answered {page.status_code}: {page.text[:500]}"
    in_url = parse_qs(urlparse(page.url).query).get("code")
    if in_url:
        return in_url[0]
    shown = re.search(r"<code[^>]*>\s*([^<\s]+)\s*</code>|value=\"([A-Za-z0-9_-]{20,})\"[^>]*readonly", page.text)
    assert shown, f"no code on the page: {page.text[:800]}"
    return shown.group(1) or shown.group(2)
