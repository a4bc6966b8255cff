//! Media and custom emojis of others' posts: described, never fetched here.

use super::{Document, shape};
use serde_json::Value;
use tidegate_model::{RemoteAttachment, RemoteEmoji};

/// What Mastodon takes and shows.
const MAX_ATTACHMENTS: usize = 4;

/// What Mastodon takes of a description, in characters.
const MAX_DESCRIPTION: usize = 10_000;

/// More custom emojis than this in one post are not read.
const MAX_EMOJIS: usize = 64;

/// What Mastodon takes of a shortcode, in bytes.
const MAX_SHORTCODE: usize = 2_048;

/// MIME types and blurhashes are far shorter.
const MAX_WORD: usize = 100;

/// The first four usable media of a post.
pub(super) fn attachments(document: &Document) -> Vec<RemoteAttachment> {
    shape::each(document.get("attachment"))
        .filter_map(attachment)
        .take(MAX_ATTACHMENTS)
        .collect()
}

fn attachment(value: &Value) -> Option<RemoteAttachment> {
    let kind = shape::each(&value["type"]).find_map(Value::as_str)?;
    let assumed = match kind {
        "Image" => "image/jpeg",
        "Video" => "video/mp4",
        "Audio" => "audio/mpeg",
        "Document" => "application/octet-stream",
        _ => return None,
    };
    let inner = shape::each(&value["url"]).find(|one| one.is_object());
    let property = |name: &str| {
        let own = &value[name];
        match inner {
            Some(link) if own.is_null() => &link[name],
            _ => own,
        }
    };
    let word = |name: &str| {
        property(name)
            .as_str()
            .filter(|text| text.len() <= MAX_WORD && text.bytes().all(|b| b.is_ascii_graphic()))
            .map(str::to_owned)
    };
    let pixels = |name: &str| property(name).as_u64().and_then(|n| u32::try_from(n).ok());
    let (name, _) = shape::language_text(&value["name"], &value["nameMap"]);
    let description = name.or_else(|| shape::text(&value["summary"]));
    Some(RemoteAttachment {
        media_type: word("mediaType").unwrap_or_else(|| assumed.to_owned()),
        url: shape::link(&value["url"])
            .or_else(|| shape::link(&value["href"]))?
            .to_owned(),
        description: description
            .map(|text| shape::clipped(text, MAX_DESCRIPTION))
            .filter(|text| !text.is_empty()),
        blurhash: word("blurhash"),
        width: pixels("width"),
        height: pixels("height"),
    })
}

/// The custom emojis of a post.
pub(super) fn emojis(document: &Document) -> Vec<RemoteEmoji> {
    shape::each(document.get("tag"))
        .filter(|tag| tag["type"] == "Emoji")
        .filter_map(|tag| {
            let shortcode = shape::text(&tag["name"])?.trim_matches(':');
            let plain = !shortcode.is_empty()
                && shortcode.len() <= MAX_SHORTCODE
                && shortcode
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            Some(RemoteEmoji {
                shortcode: plain.then(|| shortcode.to_owned())?,
                url: shape::link(&tag["icon"])?.to_owned(),
            })
        })
        .take(MAX_EMOJIS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Vec<RemoteAttachment> {
        attachments(&Document::of(&json!({"attachment": value})).expect("an object"))
    }

    #[test]
    fn media_are_described_in_every_shape() {
        let media = read(json!({
            "type": "Document", "mediaType": "image/png", "url": "https://a.test/i.png",
            "name": "a cat", "blurhash": "UBL", "width": 3, "height": 4,
        }));
        assert_eq!(media[0].description.as_deref(), Some("a cat"));
        assert_eq!((media[0].width, media[0].height), (Some(3), Some(4)));
        let media = read(json!([{
            "type": "Image",
            "url": [{"type": "Link", "href": "https://a.test/i", "mediaType": "image/webp", "width": 9}],
        }]));
        assert_eq!(media[0].media_type, "image/webp");
        assert_eq!(media[0].width, Some(9));
        assert_eq!(
            read(json!({"type": "Audio", "url": "https://a.test/i"}))[0].media_type,
            "audio/mpeg"
        );
    }

    #[test]
    fn unusable_media_are_left_out() {
        let media = read(json!([
            {"type": "Link", "href": "https://a.test/page"},
            {"type": "Image", "url": "javascript:x"},
            {"type": "Image"},
            "https://a.test/x",
            7,
            {"type": "Image", "url": "https://a.test/i", "width": -1, "blurhash": "x".repeat(200), "mediaType": "a b"},
        ]));
        assert_eq!(media.len(), 1);
        assert_eq!(media[0].width, None);
        assert_eq!(media[0].blurhash, None);
        assert_eq!(media[0].media_type, "image/jpeg");
    }

    #[test]
    fn media_and_descriptions_are_bounded() {
        let one = json!({"type": "Image", "url": "https://a.test/i", "name": "x".repeat(50_000)});
        let media = read(json!(vec![one; 1_000]));
        assert_eq!(media.len(), MAX_ATTACHMENTS);
        assert_eq!(
            media[0].description.as_ref().map(String::len),
            Some(MAX_DESCRIPTION)
        );
    }

    #[test]
    fn emojis_need_a_plain_name_and_a_picture() {
        let icon = json!({"type": "Image", "url": "https://a.test/e.png"});
        let document = Document::of(&json!({"tag": [
            {"type": "Emoji", "name": ":blob_cat:", "icon": icon},
            {"type": "Emoji", "name": "<b>", "icon": icon},
            {"type": "Emoji", "name": ":x:"},
            {"type": "Mention", "name": ":y:", "icon": icon},
        ]}))
        .expect("an object");
        let found = emojis(&document);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].shortcode, "blob_cat");
    }
}
