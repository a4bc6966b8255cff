//! The tree of parameters, grown from `a[b][]=c` pairs and from JSON.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::TooMuch;

/// Levels of nesting: the deepest that any client uses is three
/// (`subscription[keys][p256dh]`).
const MAX_DEPTH: usize = 8;

/// Pairs in one request: far above 80 ids or a profile's fields.
const MAX_PAIRS: usize = 2_000;

/// Parameters on their way to becoming a type.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: Map<String, Value>,
    pairs: usize,
}

impl Tree {
    /// Adds url-encoded pairs.
    pub(crate) fn add_pairs(&mut self, encoded: &[u8]) -> Result<(), TooMuch> {
        for (name, value) in form_urlencoded::parse(encoded) {
            self.add(&name, value.into_owned())?;
        }
        Ok(())
    }

    /// Adds one pair; `name` may be nested.
    pub(crate) fn add(&mut self, name: &str, value: String) -> Result<(), TooMuch> {
        self.pairs += 1;
        if self.pairs > MAX_PAIRS {
            return Err(TooMuch);
        }
        let (first, rest) = split(name);
        if rest.len() >= MAX_DEPTH {
            return Err(TooMuch);
        }
        insert(
            self.root.entry(first.to_owned()).or_insert(Value::Null),
            &rest,
            value,
        )
    }

    /// Lays a JSON object over the tree; its members win.
    pub(crate) fn merge_json(&mut self, value: Value) -> Result<(), TooMuch> {
        let Value::Object(members) = value else {
            return Err(TooMuch);
        };
        for (name, value) in members {
            // Some clients spell lists `id[]` in JSON too.
            let name = name.strip_suffix("[]").unwrap_or(&name).to_owned();
            self.root.insert(name, value);
        }
        Ok(())
    }

    /// The tree as a JSON object.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.root)
    }
}

/// `a[b][][c]` into `a` and `["b", "", "c"]`. What is not nested properly is one plain name.
fn split(name: &str) -> (&str, Vec<&str>) {
    let Some((first, rest)) = name.split_once('[') else {
        return (name, Vec::new());
    };
    match rest.strip_suffix(']') {
        Some(inner) if !first.is_empty() => (first, inner.split("][").collect()),
        _ => (name, Vec::new()),
    }
}

fn insert(place: &mut Value, rest: &[&str], value: String) -> Result<(), TooMuch> {
    let Some((segment, rest)) = rest.split_first() else {
        *place = Value::String(value);
        return Ok(());
    };
    if segment.is_empty() {
        return append(place, rest, value);
    }
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    let Value::Object(members) = place else {
        return Err(TooMuch);
    };
    insert(
        members.entry((*segment).to_owned()).or_insert(Value::Null),
        rest,
        value,
    )
}

/// `list[]=x`, or `list[][key]=x`, where a key that is already there begins the next element.
fn append(place: &mut Value, rest: &[&str], value: String) -> Result<(), TooMuch> {
    if place.is_null() {
        *place = Value::Array(Vec::new());
    }
    let Value::Array(items) = place else {
        return Err(TooMuch);
    };
    if let (Some(key), Some(Value::Object(last))) = (rest.first(), items.last())
        && !last.contains_key(*key)
        && let Some(last) = items.last_mut()
    {
        return insert(last, rest, value);
    }
    // `id[]=` says "a list without elements".
    if rest.is_empty() && value.is_empty() {
        return Ok(());
    }
    let mut item = Value::Null;
    insert(&mut item, rest, value)?;
    items.push(item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn tree(text: &str) -> Value {
        let mut tree = Tree::default();
        tree.add_pairs(text.as_bytes()).expect("a form");
        tree.into_value()
    }

    #[test]
    fn nesting_is_read_as_rails_does() {
        assert_eq!(
            tree("k[][a]=1&k[][b]=2&k[][a]=3&x[y][z]=4&i[]=5&i[]=6"),
            json!({
                "k": [{"a": "1", "b": "2"}, {"a": "3"}],
                "x": {"y": {"z": "4"}},
                "i": ["5", "6"],
            })
        );
    }

    #[test]
    fn contradictions_and_depth_are_refused() {
        let mut contradiction = Tree::default();
        assert_eq!(contradiction.add_pairs(b"a=1&a[b]=2"), Err(TooMuch));
        let mut deep = Tree::default();
        let name = format!("a{}", "[b]".repeat(50));
        assert_eq!(deep.add(&name, String::new()), Err(TooMuch));
        let mut many = Tree::default();
        assert_eq!(
            many.add_pairs("a=1&".repeat(3_000).as_bytes()),
            Err(TooMuch)
        );
    }

    proptest! {
        #[test]
        fn no_form_makes_it_panic(text in "[a-z\\[\\]=&%0-9]{0,80}") {
            let mut tree = Tree::default();
            let _either_is_fine = tree.add_pairs(text.as_bytes());
        }
    }
}
