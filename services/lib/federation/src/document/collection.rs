//! Collections: outboxes, followers, following. The caller chooses page sizes and URLs.

use super::{plain, with_note_context};
use serde_json::{Value, json};

/// A collection with pages. `last` is what outboxes have and followers have not.
pub fn collection(id: &str, total: u64, first: &str, last: Option<&str>) -> Value {
    let mut document = json!({
        "id": id,
        "type": "OrderedCollection",
        "totalItems": total,
        "first": first,
    });
    if let Some(last) = last {
        document["last"] = json!(last);
    }
    plain(document)
}

/// A collection whose owner shows only its size.
pub fn hidden_collection(id: &str, total: u64) -> Value {
    plain(json!({"id": id, "type": "OrderedCollection", "totalItems": total}))
}

/// One page of a collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The page's own URL.
    pub id: String,
    /// The collection's.
    pub part_of: String,
    /// The collection's size, where it is shown on pages.
    pub total: Option<u64>,
    /// The page with newer items.
    pub prev: Option<String>,
    /// The page with older items.
    pub next: Option<String>,
    /// URIs, or activities; an `@context` of theirs is taken off.
    pub items: Vec<Value>,
}

/// The document of a page.
pub fn collection_page(page: Page) -> Value {
    let mut items = page.items;
    for item in &mut items {
        if let Value::Object(fields) = item {
            fields.remove("@context");
        }
    }
    let mut document = json!({
        "id": page.id,
        "type": "OrderedCollectionPage",
        "partOf": page.part_of,
        "orderedItems": items,
    });
    if let Some(total) = page.total {
        document["totalItems"] = json!(total);
    }
    for (name, url) in [("prev", page.prev), ("next", page.next)] {
        if let Some(url) = url {
            document[name] = json!(url);
        }
    }
    with_note_context(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_collection_has_no_pages() {
        let hidden = hidden_collection("https://a.test/followers", 12);
        assert_eq!(hidden["totalItems"], 12);
        assert_eq!(hidden.get("first"), None);
    }

    #[test]
    fn an_outbox_has_both_ends() {
        let outbox = collection("u", 3, "u?page=true", Some("u?min_id=0&page=true"));
        assert_eq!(outbox["first"], "u?page=true");
        assert_eq!(outbox["last"], "u?min_id=0&page=true");
        assert_eq!(collection("u", 3, "u?page=1", None).get("last"), None);
    }

    #[test]
    fn a_page_links_only_to_what_exists() {
        let page = collection_page(Page {
            id: "u?page=2".to_owned(),
            part_of: "u".to_owned(),
            next: Some("u?page=3".to_owned()),
            items: vec![
                json!("https://b.test/bob"),
                json!({"@context": "x", "id": "y"}),
            ],
            ..Page::default()
        });
        assert_eq!(page["next"], "u?page=3");
        assert_eq!(page.get("prev"), None);
        assert_eq!(page.get("totalItems"), None);
        assert_eq!(
            page["orderedItems"],
            json!(["https://b.test/bob", {"id": "y"}])
        );
    }
}
