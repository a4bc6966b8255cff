//! What is in a text that somebody typed: links, mentions, hashtags; and how long it counts.
//!
//! One pattern finds all three; what may stand before them is checked beside it. The engine
//! is linear, and no stretch of text is looked at more than a few times.

use regex::Regex;
use std::{collections::HashSet, ops::Range, sync::LazyLock};
use unicode_segmentation::UnicodeSegmentation;
use url::Url;

/// Every link counts as this many characters, however long it is.
const LINK_CHARACTERS: usize = 23;

/// Longer links than this stay text: browsers and servers refuse them.
const MAX_LINK_BYTES: usize = 4_096;

/// Longer hashtags than this stay text.
const MAX_HASHTAG_CHARACTERS: usize = 100;

/// More of a kind than this in one text are not looked up; the rest stays text.
const MAX_FOUND: usize = 200;

static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
        (?<link> (?i:https?)://[^\s<>"]+ )
      | @ (?<user> [A-Za-z0-9_]+ (?: [.\-]+ [A-Za-z0-9_]+ )* )
          (?: @ (?<domain> [\p{L}\p{N}\p{M}] [\p{L}\p{N}\p{M}_\-]* (?: \. [\p{L}\p{N}\p{M}_\-]+ )* ) )?
      | [\#＃] (?<tag> [\w·・\u{200c}]+ )
        "#,
    )
    .expect("the pattern is correct")
});

/// Something in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entity<'a> {
    /// An http(s) URL.
    Link(&'a str),
    /// A handle; `domain` as it was typed.
    Mention {
        username: &'a str,
        domain: Option<&'a str>,
    },
    /// A hashtag without its #.
    Hashtag(&'a str),
}

/// Everything found, in order, not overlapping.
pub(super) fn entities(text: &str) -> Vec<(Range<usize>, Entity<'_>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(captures) = PATTERN.captures_at(text, at) {
        let Some(whole) = captures.get(0) else { break };
        let before = text[..whole.start()].chars().next_back();
        let sigil = text[whole.start()..]
            .chars()
            .next()
            .map_or(1, char::len_utf8);
        // What is refused is passed over by its sigil only: the rest may hold another one.
        let mut next = whole.start() + sigil;
        if let Some(link) = captures.name("link") {
            let link = trimmed(link.as_str());
            // Also when refused: its inside is not looked at again, or "http://http://..."
            // would be quadratic.
            next = whole.start() + link.len();
            if !before.is_some_and(is_word) && is_link(link) {
                found.push((whole.start()..next, Entity::Link(link)));
            }
        } else if let Some(user) = captures.name("user") {
            if !before.is_some_and(|one| is_word(one) || matches!(one, '/' | '=' | '@')) {
                let domain = captures.name("domain");
                next = domain.map_or(user.end(), |domain| domain.end());
                let mention = Entity::Mention {
                    username: user.as_str(),
                    domain: domain.map(|domain| domain.as_str()),
                };
                found.push((whole.start()..next, mention));
            }
        } else if let Some(tag) = captures.name("tag")
            && !before.is_some_and(|one| is_word(one) || "/)=&#＃".contains(one))
            && is_hashtag(tag.as_str())
        {
            next = whole.end();
            found.push((whole.range(), Entity::Hashtag(tag.as_str())));
        }
        at = next.max(at + 1);
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_hashtag(name: &str) -> bool {
    name.chars().count() <= MAX_HASHTAG_CHARACTERS && name.chars().any(char::is_alphabetic)
}

fn is_link(text: &str) -> bool {
    text.len() <= MAX_LINK_BYTES
        && Url::parse(text).is_ok_and(|url| {
            url.host_str().is_some_and(|host| !host.is_empty()) && url.username().is_empty()
        })
}

/// A link without the punctuation of the sentence around it; a closing bracket belongs to the
/// link only if the link opened it.
fn trimmed(link: &str) -> &str {
    let mut open: i64 = link
        .bytes()
        .map(|byte| match byte {
            b'(' => 1,
            b')' => -1,
            _ => 0,
        })
        .sum();
    let mut end = link.len();
    while let Some(last) = link[..end].chars().next_back() {
        match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | ']' | '}' | '*' | '…' | '。' | '、' => {}
            ')' if open < 0 => open += 1,
            _ => break,
        }
        end -= last.len_utf8();
    }
    &link[..end]
}

/// The handles in a text as `(username, domain)`, in order, each once whatever its case.
pub fn mentions_in(text: &str) -> Vec<(String, Option<String>)> {
    let mut seen = HashSet::new();
    entities(text)
        .into_iter()
        .filter_map(|(_, entity)| match entity {
            Entity::Mention { username, domain } => {
                Some((username.to_owned(), domain.map(str::to_owned)))
            }
            _ => None,
        })
        .filter(|(username, domain)| {
            seen.insert((
                username.to_lowercase(),
                domain.as_ref().map(|domain| domain.to_lowercase()),
            ))
        })
        .take(MAX_FOUND)
        .collect()
}

/// The hashtags in a text, lower-case, without #, in order, each once.
pub fn hashtags_in(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    entities(text)
        .into_iter()
        .filter_map(|(_, entity)| match entity {
            Entity::Hashtag(name) => Some(name.to_lowercase()),
            _ => None,
        })
        .filter(|name| seen.insert(name.clone()))
        .take(MAX_FOUND)
        .collect()
}

/// How many characters a post counts: grapheme clusters of warning and text, a link as 23, a
/// remote mention without its domain.
pub fn count_characters(text: &str, spoiler: &str) -> usize {
    let graphemes = |text: &str| text.graphemes(true).count();
    let mut count = graphemes(spoiler);
    let mut at = 0;
    for (range, entity) in entities(text) {
        count += graphemes(&text[at..range.start]);
        count += match entity {
            Entity::Link(_) => LINK_CHARACTERS,
            Entity::Mention { username, .. } => 1 + username.len(),
            Entity::Hashtag(_) => graphemes(&text[range.clone()]),
        };
        at = range.end;
    }
    count + graphemes(&text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn handles(text: &str) -> Vec<String> {
        mentions_in(text)
            .into_iter()
            .map(|(user, domain)| match domain {
                Some(domain) => format!("{user}@{domain}"),
                None => user,
            })
            .collect()
    }

    #[test]
    fn mentions_are_found_where_people_put_them() {
        assert_eq!(
            handles("@ada (@bob@b.test), cc @c.d-e@x.example.org. @Ada @ada!"),
            ["ada", "bob@b.test", "c.d-e@x.example.org"]
        );
        assert_eq!(handles("grüße @bob@bücher.test"), ["bob@bücher.test"]);
    }

    #[test]
    fn what_only_looks_like_a_mention_is_text() {
        for text in [
            "mail me: ada@us.test",
            "https://m.test/@ada",
            "@",
            "@@ada",
            "a=@ada",
        ] {
            assert_eq!(handles(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn hashtags_need_a_letter_and_room() {
        assert_eq!(
            hashtags_in("#Tide #tide, (#gate) #2024 #2024tide #日本 ＃wide #a_b #c·d"),
            ["tide", "gate", "2024tide", "日本", "wide", "a_b", "c·d"]
        );
        for text in ["x#y", "https://a.test/#frag", "&#39;", "##x", "#_"] {
            assert_eq!(hashtags_in(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn links_end_before_the_sentence_does() {
        for (text, link) in [
            ("see https://a.test/x.", "https://a.test/x"),
            ("(https://a.test/x)", "https://a.test/x"),
            ("https://a.test/x_(y)", "https://a.test/x_(y)"),
            ("HTTPS://a.test/?q=1&r=2!", "HTTPS://a.test/?q=1&r=2"),
            ("<https://a.test>", "https://a.test"),
        ] {
            let found = entities(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].1, Entity::Link(link), "{text}");
        }
        for text in [
            "https://",
            "xhttps://a.test",
            "https://user@a.test/",
            "ftp://a.test",
        ] {
            let links = entities(text)
                .into_iter()
                .any(|(_, entity)| matches!(entity, Entity::Link(_)));
            assert!(!links, "{text}");
        }
    }

    #[test]
    fn characters_are_counted_as_people_see_them() {
        assert_eq!(count_characters("", ""), 0);
        assert_eq!(count_characters("abc", "de"), 5);
        assert_eq!(count_characters("👨‍👩‍👧‍👦e\u{301}", ""), 2);
        let link = format!("https://a.test/{}", "x".repeat(300));
        assert_eq!(count_characters(&format!("a {link} b"), ""), 4 + 23);
        assert_eq!(count_characters("@bob@very.long.example.org x", ""), 6);
        assert_eq!(count_characters("@bob x", ""), 6);
        assert_eq!(count_characters("#tag", ""), 4);
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        for piece in [
            "@a",
            "#",
            "#1",
            "http://",
            "@a@",
            "a@",
            "(((",
            "http://a.test(",
            "@a.",
        ] {
            let text = piece.repeat(200_000 / piece.len());
            let start = std::time::Instant::now();
            entities(&text);
            // Measured at well below a second unoptimised; quadratic would take minutes.
            assert!(start.elapsed().as_secs() < 10, "{piece}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_lies_in_order_on_character_borders(text in "[@#a-z.:/(é👍 ]{0,60}|(https?://)?[a-z@#. ]{0,30}") {
            let mut at = 0;
            for (range, _) in entities(&text) {
                prop_assert!(range.start >= at && range.end > range.start);
                prop_assert!(text.get(range.clone()).is_some());
                at = range.end;
            }
        }
    }
}
