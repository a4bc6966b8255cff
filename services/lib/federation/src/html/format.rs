//! A local post's text as the HTML that clients and other servers show.

use super::{
    entities::{Entity, entities},
    escape::push_escaped,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_model::{Instance, canonical_host};

/// So much of a link is shown; the rest is there for copying.
const SHOWN_LINK_CHARACTERS: usize = 30;

/// What stands for itself in a path.
const PATH: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Somebody that a text may mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MentionLink {
    /// The left-hand side of the handle.
    pub username: String,
    /// The right-hand side; `None` when local.
    pub domain: Option<String>,
    /// Where the link leads: the profile's page.
    pub url: String,
}

/// The page of a hashtag, fit for a link.
pub fn hashtag_url(us: &Instance, name: &str) -> String {
    us.tag(&utf8_percent_encode(&name.to_lowercase(), &PATH).to_string())
}

/// The text of a post as HTML: paragraphs, line breaks, links, and those of `mentions` and
/// hashtags that it names. Everything else is escaped; time is linear in the text.
pub fn format_status(text: &str, mentions: &[MentionLink], us: &Instance) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim_matches('\n').trim_end();
    if text.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(text.len() * 2);
    out.push_str("<p>");
    let mut at = 0;
    for (range, entity) in entities(text) {
        push_text(&mut out, &text[at..range.start]);
        let typed = &text[range.clone()];
        match entity {
            Entity::Link(link) => push_link(&mut out, link),
            Entity::Hashtag(name) => push_hashtag(&mut out, name, us),
            Entity::Mention { username, domain } => {
                match mentions.iter().find(|one| names(one, username, domain, us)) {
                    Some(mention) => push_mention(&mut out, mention),
                    None => push_escaped(&mut out, typed),
                }
            }
        }
        at = range.end;
    }
    push_text(&mut out, &text[at..]);
    out.push_str("</p>");
    out
}

/// Two newlines or more part paragraphs, one breaks the line. No entity holds a newline, so a
/// run of them is never cut in two.
fn push_text(out: &mut String, text: &str) {
    let mut newlines = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\n' {
            newlines += 1;
            rest = &rest[1..];
            continue;
        }
        push_break(out, newlines);
        newlines = 0;
        let end = rest.find('\n').unwrap_or(rest.len());
        push_escaped(out, &rest[..end]);
        rest = &rest[end..];
    }
    push_break(out, newlines);
}

fn push_break(out: &mut String, newlines: usize) {
    match newlines {
        0 => {}
        1 => out.push_str("<br>"),
        _ => out.push_str("</p><p>"),
    }
}

fn push_link(out: &mut String, link: &str) {
    // The scheme is ASCII; "://" is there or it would not be a link.
    let scheme_end = link.find("://").map_or(0, |at| at + 3);
    let hidden_end = match link.get(scheme_end..scheme_end + 4) {
        Some(www) if www.eq_ignore_ascii_case("www.") => scheme_end + 4,
        _ => scheme_end,
    };
    let (hidden, rest) = link.split_at(hidden_end);
    let shown_end = rest
        .char_indices()
        .nth(SHOWN_LINK_CHARACTERS)
        .map_or(rest.len(), |(at, _)| at);
    let (shown, cut) = rest.split_at(shown_end);
    out.push_str("<a href=\"");
    push_escaped(out, link);
    out.push_str(
        "\" target=\"_blank\" rel=\"nofollow noopener noreferrer\" translate=\"no\">\
         <span class=\"invisible\">",
    );
    push_escaped(out, hidden);
    out.push_str(if cut.is_empty() {
        "</span><span class=\"\">"
    } else {
        "</span><span class=\"ellipsis\">"
    });
    push_escaped(out, shown);
    out.push_str("</span><span class=\"invisible\">");
    push_escaped(out, cut);
    out.push_str("</span></a>");
}

fn push_hashtag(out: &mut String, name: &str, us: &Instance) {
    out.push_str("<a href=\"");
    push_escaped(out, &hashtag_url(us, name));
    out.push_str("\" class=\"mention hashtag\" rel=\"tag\">#<span>");
    push_escaped(out, name);
    out.push_str("</span></a>");
}

fn push_mention(out: &mut String, mention: &MentionLink) {
    out.push_str("<span class=\"h-card\" translate=\"no\"><a href=\"");
    push_escaped(out, &mention.url);
    out.push_str("\" class=\"u-url mention\">@<span>");
    push_escaped(out, &mention.username);
    out.push_str("</span></a></span>");
}

/// Whether `@username[@domain]` means this one; our own domain may be left out.
fn names(mention: &MentionLink, username: &str, domain: Option<&str>, us: &Instance) -> bool {
    let ours = |domain: &str| canonical_host(domain) == canonical_host(&us.domain);
    let domain = domain.filter(|domain| !ours(domain));
    mention.username.eq_ignore_ascii_case(username)
        && match (&mention.domain, domain) {
            (None, None) => true,
            (Some(known), Some(typed)) => canonical_host(known) == canonical_host(typed),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::{super::sanitize, *};
    use proptest::prelude::*;
    use url::Url;

    fn us() -> Instance {
        Instance::new(
            "us.test",
            &Url::parse("https://web.us.test").expect("a URL"),
        )
    }

    fn people() -> Vec<MentionLink> {
        vec![
            MentionLink {
                username: "ada".to_owned(),
                domain: None,
                url: "https://web.us.test/@ada".to_owned(),
            },
            MentionLink {
                username: "Bob".to_owned(),
                domain: Some("b.test".to_owned()),
                url: "https://b.test/@bob?a&b".to_owned(),
            },
        ]
    }

    fn format(text: &str) -> String {
        format_status(text, &people(), &us())
    }

    #[test]
    fn newlines_become_breaks_and_paragraphs() {
        assert_eq!(format("a\nb\r\n\r\n\r\nc"), "<p>a<br>b</p><p>c</p>");
        assert_eq!(format("\n\na\n\n"), "<p>a</p>");
        assert_eq!(format(""), "");
        assert_eq!(format(" \n "), "");
    }

    #[test]
    fn everything_typed_is_escaped() {
        assert_eq!(
            format("<script>alert('x')</script> & \"y\""),
            "<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;</p>"
        );
    }

    #[test]
    fn long_links_hide_their_ends() {
        assert_eq!(
            format("https://www.example.org/a/rather/long/path/to/something?x=1&y=2"),
            "<p><a href=\"https://www.example.org/a/rather/long/path/to/something?x=1&amp;y=2\" \
             target=\"_blank\" rel=\"nofollow noopener noreferrer\" translate=\"no\">\
             <span class=\"invisible\">https://www.</span>\
             <span class=\"ellipsis\">example.org/a/rather/long/path</span>\
             <span class=\"invisible\">/to/something?x=1&amp;y=2</span></a></p>"
        );
        assert!(format("http://a.test").contains("<span class=\"\">a.test</span>"));
    }

    #[test]
    fn a_link_cannot_leave_its_attribute() {
        let html = format("https://a.test/'onmouseover='alert(1)");
        assert!(!html.contains("'onmouseover"), "{html}");
    }

    #[test]
    fn mentions_link_to_profiles() {
        let ada = "<span class=\"h-card\" translate=\"no\"><a href=\"https://web.us.test/@ada\" \
                   class=\"u-url mention\">@<span>ada</span></a></span>";
        assert_eq!(format("@ada"), format!("<p>{ada}</p>"));
        assert_eq!(format("@ADA@us.test"), format!("<p>{ada}</p>"));
        let bob = "<span class=\"h-card\" translate=\"no\"><a href=\"https://b.test/@bob?a&amp;b\" \
                   class=\"u-url mention\">@<span>Bob</span></a></span>";
        assert_eq!(format("hi @bob@B.test!"), format!("<p>hi {bob}!</p>"));
    }

    #[test]
    fn unknown_handles_stay_text() {
        assert_eq!(
            format("@nobody @bob @ada@other.test"),
            "<p>@nobody @bob @ada@other.test</p>"
        );
    }

    #[test]
    fn hashtags_link_to_their_page_in_lower_case() {
        assert_eq!(
            format("#Tide #日"),
            "<p><a href=\"https://web.us.test/tags/tide\" class=\"mention hashtag\" \
             rel=\"tag\">#<span>Tide</span></a> \
             <a href=\"https://web.us.test/tags/%E6%97%A5\" class=\"mention hashtag\" \
             rel=\"tag\">#<span>日</span></a></p>"
        );
    }

    proptest! {
        #[test]
        fn a_reader_sees_what_was_typed(text in "[a-z<>&\"'@#:/. \n]{0,60}") {
            let html = format(&text);
            let seen: String = super::super::plain_text(&html).split_whitespace().collect();
            let typed: String = text.split_whitespace().collect();
            prop_assert_eq!(seen, typed);
        }

        #[test]
        fn our_own_html_has_nothing_to_remove(text in "(https://a\\.test/[a-z]{0,40}|@ada|#[a-z]{1,5}|[<>&a-z\n ]{0,9}){0,8}") {
            let html = format(&text);
            let clean = sanitize(&html);
            prop_assert_eq!(
                super::super::plain_text(&clean),
                super::super::plain_text(&html)
            );
            prop_assert_eq!(clean.matches("<a ").count(), html.matches("<a ").count());
        }
    }
}
