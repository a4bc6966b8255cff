//! To whom something from elsewhere is addressed.

use super::{Document, shape};
use crate::PUBLIC;
use serde_json::Value;
use tidegate_model::{Addressing, Visibility};

/// More addresses than this are not read. A post to so many people is spam, and addresses
/// beyond only ever make an audience smaller here.
const MAX_RECIPIENTS: usize = 1_000;

/// Reads `to` and `cc`. `followers` is the stored author's followers collection; without it a
/// post that is not public counts as direct, which shows it to nobody who was not named.
pub fn addressing(document: &Document, followers: Option<&str>) -> Addressing {
    let (to, cc) = (document.get("to"), document.get("cc"));
    let followers = followers.filter(|url| !url.is_empty());
    let mut recipients: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for address in shape::each(to).chain(shape::each(cc)) {
        if recipients.len() >= MAX_RECIPIENTS {
            break;
        }
        if !is_public(address)
            && let Some(id) = shape::id(address)
            && seen.insert(id)
        {
            recipients.push(id.to_owned());
        }
    }
    let visibility = if shape::each(to).any(is_public) {
        Visibility::Public
    } else if shape::each(cc).any(is_public) {
        Visibility::Unlisted
    } else if shape::each(to)
        .chain(shape::each(cc))
        .any(|address| followers.is_some() && shape::id(address) == followers)
    {
        Visibility::Private
    } else {
        Visibility::Direct
    };
    Addressing {
        visibility,
        recipients,
    }
}

fn is_public(address: &Value) -> bool {
    let text = match address {
        Value::Object(fields) => fields.get("id").and_then(Value::as_str),
        other => other.as_str(),
    };
    matches!(text, Some(PUBLIC | "as:Public" | "Public"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::audience;
    use serde_json::json;

    const FOLLOWERS: &str = "https://a.test/followers";
    const BOB: &str = "https://b.test/bob";

    fn read(value: &Value) -> Addressing {
        addressing(&Document::of(value).expect("an object"), Some(FOLLOWERS))
    }

    #[test]
    fn what_we_address_reads_back() {
        for visibility in Visibility::ALL {
            let sent = audience(visibility, FOLLOWERS, &[BOB.to_owned()]);
            let got = read(&json!({"to": sent.to, "cc": sent.cc}));
            assert_eq!(got.visibility, visibility);
            assert!(got.recipients.contains(&BOB.to_owned()));
            assert!(!got.recipients.contains(&PUBLIC.to_owned()));
        }
    }

    #[test]
    fn every_spelling_of_public_and_every_shape_is_read() {
        for to in [
            json!("as:Public"),
            json!(["Public"]),
            json!({"id": PUBLIC}),
            json!([BOB, PUBLIC]),
        ] {
            assert_eq!(
                read(&json!({"to": to})).visibility,
                Visibility::Public,
                "{to}"
            );
        }
        assert_eq!(read(&json!({})).visibility, Visibility::Direct);
        assert_eq!(
            read(&json!({"cc": FOLLOWERS})).visibility,
            Visibility::Private
        );
    }

    #[test]
    fn hidden_recipients_are_not_read() {
        let got = read(&json!({"bto": PUBLIC, "bcc": [BOB], "to": FOLLOWERS}));
        assert_eq!(got.visibility, Visibility::Private);
        assert_eq!(got.recipients, [FOLLOWERS]);
    }

    #[test]
    fn unknown_collections_reach_nobody_else() {
        let value = json!({"to": "https://a.test/circle"});
        assert_eq!(read(&value).visibility, Visibility::Direct);
        let document = Document::of(&json!({"to": FOLLOWERS})).expect("an object");
        assert_eq!(addressing(&document, None).visibility, Visibility::Direct);
        let empty = Document::of(&json!({"to": ""})).expect("an object");
        assert_eq!(addressing(&empty, Some("")).visibility, Visibility::Direct);
    }

    #[test]
    fn recipients_are_unique_and_bounded() {
        let crowd: Vec<String> = (0..5_000).map(|n| format!("https://b.test/{n}")).collect();
        let got = read(&json!({"to": [BOB, BOB], "cc": crowd}));
        assert_eq!(got.recipients.len(), MAX_RECIPIENTS);
        assert_eq!(got.recipients[0], BOB);
    }
}
