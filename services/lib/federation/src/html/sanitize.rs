//! Remote HTML against an allow-list (rule R9): parsed to a tree, allowed nodes kept, printed.
//!
//! Whatever the parser does, the caller gets safe text: input beyond the bounds, a panic in the
//! parser, or output that a second pass would change is shown as plain text instead.

use ammonia::{Builder, UrlRelative};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

/// More HTML than this is shown as text: far above any post (Mastodon's are below 10 kB), and
/// low enough that the parser's quadratic corners stay below a second.
pub const MAX_HTML_BYTES: usize = 64 * 1024;

/// Deeper trees than this are shown as text; printing a tree is recursive in browsers too.
const MAX_DEPTH: usize = 64;

/// A tag with more blanks and slashes than this outside quotes is not from a post: the parser
/// compares every attribute with every other.
const MAX_TAG_SEPARATORS: usize = 64;

/// How often output is cleaned again before it counts as unstable.
const MAX_PASSES: usize = 3;

const TAGS: [&str; 22] = [
    "p",
    "br",
    "span",
    "a",
    "del",
    "s",
    "pre",
    "blockquote",
    "code",
    "b",
    "strong",
    "u",
    "i",
    "em",
    "ul",
    "ol",
    "li",
    "ruby",
    "rt",
    "rp",
    "sub",
    "sup",
];

/// Elements whose content is not text for people.
const REMOVED_WITH_CONTENT: [&str; 14] = [
    "script", "style", "title", "textarea", "noscript", "iframe", "noembed", "noframes", "xmp",
    "template", "svg", "math", "object", "select",
];

/// Elements that end by themselves, so that many of them are not deep.
const NOT_NESTING: [&str; 12] = [
    "p", "li", "br", "hr", "img", "input", "wbr", "meta", "link", "rt", "rp", "source",
];

/// Microformat prefixes of classes that are kept.
const CLASS_PREFIXES: [&str; 5] = ["h-", "p-", "u-", "dt-", "e-"];

/// Whole classes that are kept.
const CLASSES: [&str; 5] = [
    "mention",
    "hashtag",
    "ellipsis",
    "invisible",
    "quote-inline",
];

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = Builder::empty();
    cleaner
        .tags(TAGS.into())
        .clean_content_tags(REMOVED_WITH_CONTENT.into())
        .generic_attributes(HashSet::from(["lang"]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "class", "translate"])),
            ("span", HashSet::from(["class", "translate"])),
            ("p", HashSet::from(["class"])),
            ("ol", HashSet::from(["start", "reversed"])),
            ("li", HashSet::from(["value"])),
        ]))
        .url_schemes(HashSet::from(["http", "https"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("nofollow noopener noreferrer"))
        .set_tag_attribute_value("a", "target", "_blank")
        .strip_comments(true)
        .attribute_filter(|_, attribute, value| match attribute {
            "class" => allowed_classes(value).map(Cow::Owned),
            "translate" => (value == "no").then_some(Cow::Borrowed(value)),
            _ => Some(Cow::Borrowed(value)),
        });
    cleaner
});

/// Removes every tag; what stays is escaped text.
static STRIPPER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = Builder::empty();
    cleaner.clean_content_tags(REMOVED_WITH_CONTENT.into());
    cleaner
});

fn allowed_classes(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split_ascii_whitespace()
        .filter(|class| {
            CLASSES.contains(class)
                || CLASS_PREFIXES
                    .iter()
                    .any(|prefix| class.starts_with(prefix))
        })
        .collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

/// Safe HTML of a remote post or biography. Cleaning its result again changes nothing.
pub fn sanitize(html: &str) -> String {
    sanitize_within(html, MAX_HTML_BYTES)
}

/// The same, showing as plain text what is longer than `max_bytes` (at most
/// [`MAX_HTML_BYTES`]) before or after cleaning.
pub fn sanitize_within(html: &str, max_bytes: usize) -> String {
    let max_bytes = max_bytes.min(MAX_HTML_BYTES);
    stable(html, max_bytes).unwrap_or_else(|| as_text(html, max_bytes))
}

fn stable(html: &str, max_bytes: usize) -> Option<String> {
    let mut current = Cow::Borrowed(html);
    for _ in 0..MAX_PASSES {
        if !fits(&current, max_bytes) {
            return None;
        }
        let cleaned = guarded(&CLEANER, &current)?;
        if cleaned == current {
            return Some(cleaned);
        }
        current = Cow::Owned(cleaned);
    }
    None
}

/// Cleans; a panic of the parser is no more than a refusal.
fn guarded(cleaner: &Builder<'static>, html: &str) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| cleaner.clean(html).to_string())).ok()
}

/// The text of HTML that was not parsed: tags cut out by eye, the rest escaped as the parser
/// would print it, so that it stays as it is when cleaned again.
fn as_text(html: &str, max_bytes: usize) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    let mut buffer = [0; 4];
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            other => {
                let escaped = match other {
                    '&' => "&amp;",
                    '>' => "&gt;",
                    '\u{a0}' => "&nbsp;",
                    '\n' | '\t' => " ",
                    // The parser drops or rewrites controls, so they would not be stable.
                    control if control.is_control() => continue,
                    _ => other.encode_utf8(&mut buffer),
                };
                if out.len() + escaped.len() > max_bytes {
                    return out;
                }
                out.push_str(escaped);
            }
        }
    }
    out
}

/// Whether HTML is within the bounds, judged in one pass over its bytes. Errs towards no.
fn fits(html: &str, max_bytes: usize) -> bool {
    if html.len() > max_bytes {
        return false;
    }
    let mut open: HashMap<&str, usize> = HashMap::new();
    let mut depth = 0;
    for tag in html.split('<').skip(1) {
        let (closing, tag) = match tag.strip_prefix('/') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        let end = tag
            .find(|one: char| !one.is_ascii_alphanumeric())
            .unwrap_or(tag.len());
        let name = &tag[..end];
        if separators(tag) > MAX_TAG_SEPARATORS {
            return false;
        }
        if name.is_empty() || NOT_NESTING.iter().any(|one| one.eq_ignore_ascii_case(name)) {
            continue;
        }
        let count = open.entry(name).or_default();
        if !closing {
            *count += 1;
            depth += 1;
        } else if *count > 0 {
            *count -= 1;
            depth -= 1;
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// Blanks and slashes between the start of a tag and its end, outside quoted values.
fn separators(tag: &str) -> usize {
    let mut quote = None;
    let mut count = 0;
    let mut after_equals = false;
    for byte in tag.bytes() {
        match quote {
            Some(end) if byte == end => quote = None,
            Some(_) => {}
            None => match byte {
                b'>' => break,
                b'"' | b'\'' if after_equals => quote = Some(byte),
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c | b'/' => count += 1,
                _ => {}
            },
        }
        after_equals = byte == b'=' || (after_equals && byte.is_ascii_whitespace());
    }
    count
}

/// HTML as plain text: line breaks and ends of paragraphs become newlines, entities become
/// characters. The result is text, not HTML: escape it before showing it.
pub fn plain_text(html: &str) -> String {
    let stripped = if fits(html, MAX_HTML_BYTES) {
        let broken = html
            .replace("<br", "\n<br")
            .replace("</p>", "\n\n</p>")
            .replace("</li>", "\n</li>");
        guarded(&STRIPPER, &broken)
    } else {
        None
    };
    let escaped = stripped.unwrap_or_else(|| as_text(html, MAX_HTML_BYTES));
    unescape(&escaped).trim().to_owned()
}

/// Undoes exactly the escapes that the printer writes; `&amp;` last, so that nothing is undone
/// twice.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Attacks on sanitisers, by the trick they use; `mXSS` ones mutate when parsed again.
    const ATTACKS: &[&str] = &[
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//e.test/x.js></SCRIPT>",
        "<scr<script>ipt>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"JaVaScRiPt:alert(1)\">x</a>",
        "<a href=\"java\nscript:alert(1)\">x</a>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<a href=\" javascript:alert(1)\">x</a>",
        "<a href=\"\u{1}javascript:alert(1)\">x</a>",
        "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
        "<a href=\"vbscript:msgbox(1)\">x</a>",
        "<a href=\"//e.test\">x</a>",
        "<a href=\"/settings\">x</a>",
        "<a onclick=alert(1) href=\"https://e.test\">x</a>",
        "<p style=\"background:url(javascript:alert(1))\">x</p>",
        "<span class=\"modal-root mention\" id=x>y</span>",
        "<iframe src=\"https://e.test\"></iframe>",
        "<object data=x></object><embed src=x>",
        "<form action=https://e.test><input name=q><button>go</button></form>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<math><annotation-xml encoding=\"text/html\"><style><img src=x onerror=alert(1)></style>",
        "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">",
        "<textarea><p title=\"</textarea><img src=x onerror=alert(1)>\">",
        "<!--><img src=x onerror=alert(1)>-->",
        "<![CDATA[<img src=x onerror=alert(1)>]]>",
        "<template><img src=x onerror=alert(1)></template>",
        "<base href=\"https://e.test/\">",
        "<meta http-equiv=refresh content=\"0;url=https://e.test\">",
        "<select><option><style></option></select><img src=x onerror=alert(1)></style>",
        "<b><p><b><p>x</b></p></b>",
        "<a href=\"https://a.test\"><a href=\"https://b.test\">x",
        "<p>a<p>b",
        "<table><td><p>x",
        "\0<p>\0x</p>",
        "a\r\nb",
    ];

    /// Whether a second, simple reading of safe HTML finds only what is allowed.
    fn assert_safe(html: &str) {
        let lower = html.to_ascii_lowercase();
        for piece in lower.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').expect("every tag ends");
            let name: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            assert!(TAGS.contains(&name.as_str()), "<{name}> in {html}");
            let mut outside = String::new();
            for (index, part) in tag.split('"').enumerate() {
                if index % 2 == 0 {
                    outside.push_str(part);
                } else if outside.ends_with("href=") {
                    assert!(
                        part.starts_with("http://") || part.starts_with("https://"),
                        "{part} in {html}"
                    );
                }
            }
            for attribute in outside.split_ascii_whitespace().skip(1) {
                let name = attribute.trim_end_matches(['=', '/']);
                let allowed = [
                    "",
                    "href",
                    "class",
                    "translate",
                    "rel",
                    "target",
                    "lang",
                    "start",
                    "reversed",
                    "value",
                ];
                assert!(allowed.contains(&name), "{name} in {html}");
            }
        }
    }

    #[test]
    fn attacks_leave_only_allowed_nodes_and_stay_put() {
        for attack in ATTACKS {
            let clean = sanitize(attack);
            assert_safe(&clean);
            assert_eq!(sanitize(&clean), clean, "{attack}");
        }
    }

    #[test]
    fn a_post_from_mastodon_survives() {
        let post = "<p><span class=\"h-card\" translate=\"no\"><a href=\"https://a.test/@ada\" \
            class=\"u-url mention\">@<span>ada</span></a></span> look:<br>\
            <a href=\"https://x.test/\"><span class=\"invisible\">https://</span>\
            <span class=\"ellipsis\">x.test</span></a></p>";
        let clean = sanitize(post);
        for kept in [
            "<span class=\"h-card\" translate=\"no\">",
            "class=\"u-url mention\"",
            "<br>",
            "<span class=\"invisible\">https://</span>",
            "rel=\"nofollow noopener noreferrer\"",
            "target=\"_blank\"",
        ] {
            assert!(clean.contains(kept), "{kept} in {clean}");
        }
    }

    #[test]
    fn only_known_classes_are_kept() {
        assert_eq!(
            sanitize("<span class=\"evil mention h-card x\">y</span><p class=\"evil\">z</p>"),
            "<span class=\"mention h-card\">y</span><p>z</p>"
        );
    }

    #[test]
    fn lists_keep_their_numbers() {
        let list = "<ol start=\"3\" reversed=\"\"><li value=\"3\">x</li></ol>";
        assert_eq!(sanitize(list), list);
    }

    #[test]
    fn what_is_too_deep_or_too_long_becomes_text() {
        let deep = format!("{}x{}", "<b>".repeat(5_000), "</b>".repeat(5_000));
        assert_eq!(sanitize(&deep), "x");
        let hidden = format!("{}x", "</i><b>".repeat(5_000));
        assert_eq!(sanitize(&hidden), "x");
        let long = format!("<p>{}</p>", "&".repeat(MAX_HTML_BYTES));
        let clean = sanitize(&long);
        assert!(clean.len() <= MAX_HTML_BYTES && clean.starts_with("&amp;"));
        assert_eq!(sanitize(&clean), clean);
        assert!(sanitize_within("<p>0123456789</p>", 8).starts_with("01234567"));
    }

    #[test]
    fn a_tag_of_attributes_is_not_parsed() {
        let names: Vec<String> = (0..9_000).map(|n| format!("a{n}")).collect();
        assert!(!fits(&format!("<p {}>", names.join(" ")), MAX_HTML_BYTES));
        assert!(!fits(&format!("<p {}>", names.join("/")), MAX_HTML_BYTES));
        assert!(fits("<p class=\"a b c\">x</p>", MAX_HTML_BYTES));
    }

    #[test]
    fn text_keeps_its_lines_and_characters() {
        assert_eq!(
            plain_text("<p>a &lt;b&gt; &amp;amp;<br>c</p><p>d<script>x</script></p>"),
            "a <b> &amp;\nc\n\nd"
        );
        assert_eq!(plain_text("1 < 2"), "1 < 2");
        assert_eq!(plain_text(""), "");
    }

    proptest! {
        #[test]
        fn anything_becomes_safe_and_stays_put(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("<p>"), Just("</p>"), Just("<a href=\"https://x.test\">"), Just("</a>"),
                    Just("<b>"), Just("</b>"), Just("<svg>"), Just("<math>"), Just("<style>"),
                    Just("</style>"), Just("<!--"), Just("-->"), Just("<img src=x onerror=y>"),
                    Just("<table>"), Just("<td>"), Just("<select>"), Just("\""), Just("'"),
                    Just("<"), Just(">"), Just("&lt;"), Just("x"), Just("<ul><li>"), Just("<pre>\n"),
                    Just("<noscript>"), Just("<mtext>"), Just("<a href='javascript:x'>"),
                    Just("<span class=mention lang=en>"), Just("\u{a0}"), Just("\0"),
                ],
                0..24,
            )
        ) {
            let clean = sanitize(&parts.concat());
            assert_safe(&clean);
            prop_assert_eq!(sanitize(&clean), clean);
        }

        #[test]
        fn any_text_survives_stripping(text in "[a-z<>&\"' ]{0,40}") {
            prop_assert_eq!(plain_text(&super::super::escape(&text)), text.trim());
        }
    }
}
