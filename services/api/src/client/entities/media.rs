//! Attachments and custom emojis, as their origin serves them.

use serde::Serialize;
use serde_json::{Value, json};
use tidegate_model::{RemoteAttachment, RemoteEmoji};

/// A picture, film or sound beside a post.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MediaAttachment {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) url: String,
    pub(crate) preview_url: Option<String>,
    pub(crate) remote_url: Option<String>,
    pub(crate) preview_remote_url: Option<String>,
    pub(crate) text_url: Option<String>,
    pub(crate) meta: Value,
    pub(crate) description: Option<String>,
    pub(crate) blurhash: Option<String>,
}

/// A picture that stands for `:shortcode:`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CustomEmoji {
    pub(crate) shortcode: String,
    pub(crate) url: String,
    pub(crate) static_url: String,
    pub(crate) visible_in_picker: bool,
}

/// The attachment number `index` of a status. Files stay with their origin, so that the id only
/// has to be unique and stable.
pub(crate) fn media(status_id: i64, index: usize, stored: &RemoteAttachment) -> MediaAttachment {
    let kind = match stored.media_type.split('/').next() {
        Some("image") => "image",
        Some("video") => "video",
        Some("audio") => "audio",
        _ => "unknown",
    };
    let meta = match (stored.width, stored.height) {
        (Some(width), Some(height)) if width > 0 && height > 0 => json!({
            "original": {
                "width": width,
                "height": height,
                "size": format!("{width}x{height}"),
                "aspect": f64::from(width) / f64::from(height),
            }
        }),
        _ => json!({}),
    };
    MediaAttachment {
        id: format!("{status_id}{index}"),
        kind,
        url: stored.url.clone(),
        preview_url: (kind == "image").then(|| stored.url.clone()),
        remote_url: Some(stored.url.clone()),
        preview_remote_url: None,
        text_url: None,
        meta,
        description: stored.description.clone(),
        blurhash: stored.blurhash.clone(),
    }
}

/// A custom emoji.
pub(crate) fn emoji(stored: &RemoteEmoji) -> CustomEmoji {
    CustomEmoji {
        shortcode: stored.shortcode.clone(),
        url: stored.url.clone(),
        static_url: stored.url.clone(),
        visible_in_picker: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(media_type: &str, size: Option<(u32, u32)>) -> RemoteAttachment {
        RemoteAttachment {
            media_type: media_type.to_owned(),
            url: "https://far.test/1".to_owned(),
            description: None,
            blurhash: None,
            width: size.map(|size| size.0),
            height: size.map(|size| size.1),
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_said_to_be_unknown() {
        assert_eq!(media(1, 0, &stored("image/png", None)).kind, "image");
        assert_eq!(
            media(1, 0, &stored("application/pdf", None)).kind,
            "unknown"
        );
        assert_eq!(media(1, 0, &stored("", None)).kind, "unknown");
    }

    #[test]
    fn a_size_of_zero_gives_no_aspect() {
        assert_eq!(
            media(1, 0, &stored("image/png", Some((4, 0)))).meta,
            json!({})
        );
        let meta = media(1, 0, &stored("image/png", Some((4, 2)))).meta;
        assert_eq!(meta["original"]["aspect"], 2.0);
    }
}
