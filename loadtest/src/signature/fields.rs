//! As much of structured fields (RFC 8941) as signatures need: dictionaries, inner lists of
//! strings, parameters, byte sequences. Values stay raw text, because RFC 9421 signs the raw
//! text of the member.

use base64::{Engine, engine::general_purpose::STANDARD};

/// A member of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Name before the equals sign.
    pub key: &'a str,
    /// Everything after it, parameters included.
    pub value: &'a str,
}

/// An inner list of strings with its parameters: `("@method" "date");created=1;keyid="x"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerList {
    /// The strings, with the raw parameters that follow each.
    pub items: Vec<(String, String)>,
    /// Parameters of the list; bare items without their quotes.
    pub parameters: Vec<(String, String)>,
}

impl InnerList {
    /// A parameter of the list.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }
}

/// Splits at `separator`, but not inside quotes, parentheses or byte sequences.
fn split_outside(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quoted, mut escaped, mut bytes) =
        (0, 0_u32, false, false, false);
    for (index, character) in text.char_indices() {
        if quoted {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match character {
            ':' => bytes = !bytes,
            _ if bytes => {}
            '"' => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ if character == separator && depth == 0 => {
                parts.push(&text[start..index]);
                start = index + character.len_utf8();
            }
            _ => {}
        }
    }
    if quoted || bytes || depth != 0 {
        return None;
    }
    parts.push(&text[start..]);
    Some(parts)
}

/// The members of a dictionary; `None` when it is malformed or names a key twice.
pub fn dictionary(text: &str) -> Option<Vec<Member<'_>>> {
    let mut members: Vec<Member<'_>> = Vec::new();
    for part in split_outside(text, ',')? {
        let (key, value) = part.trim().split_once('=')?;
        if key.is_empty() || members.iter().any(|member| member.key == key) {
            return None;
        }
        members.push(Member {
            key,
            value: value.trim(),
        });
    }
    Some(members)
}

/// The content of `:base64:`.
pub fn byte_sequence(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(inner).ok()
}

/// Reads an inner list of strings with parameters.
pub fn inner_list(text: &str) -> Option<InnerList> {
    let pieces = split_outside(text, ';')?;
    let (list, parameters) = pieces.split_first()?;
    let content = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    let mut items = Vec::new();
    for item in split_outside(content, ' ')?
        .into_iter()
        .filter(|item| !item.is_empty())
    {
        let rest = item.strip_prefix('"')?;
        let (name, suffix) = rest.split_once('"')?;
        items.push((name.to_owned(), suffix.to_owned()));
    }
    let parameters = parameters
        .iter()
        .map(|parameter| bare_parameter(parameter))
        .collect::<Option<_>>()?;
    Some(InnerList { items, parameters })
}

fn bare_parameter(text: &str) -> Option<(String, String)> {
    let Some((key, value)) = text.trim().split_once('=') else {
        return Some((text.trim().to_owned(), "?1".to_owned()));
    };
    let value = match value.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')?
            .replace("\\\"", "\"")
            .replace("\\\\", "\\"),
        None => value.to_owned(),
    };
    Some((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_split_outside_of_quotes_lists_and_bytes() {
        let text = r#"sig1=("@method" "a,b");keyid="x,y", sig2=:YSxi:"#;
        let members = dictionary(text).expect("well formed");
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].key, "sig1");
        assert_eq!(members[0].value, r#"("@method" "a,b");keyid="x,y""#);
        assert_eq!(
            byte_sequence(members[1].value).as_deref(),
            Some(b"a,b".as_slice())
        );
    }

    #[test]
    fn an_inner_list_gives_names_and_parameters() {
        let list = inner_list(r#"("@method" "x-a";sf);created=16;keyid="http://a/#k";flag"#)
            .expect("well formed");
        assert_eq!(list.items[0], ("@method".to_owned(), String::new()));
        assert_eq!(list.items[1], ("x-a".to_owned(), ";sf".to_owned()));
        assert_eq!(list.parameter("created"), Some("16"));
        assert_eq!(list.parameter("keyid"), Some("http://a/#k"));
        assert_eq!(list.parameter("flag"), Some("?1"));
        assert_eq!(list.parameter("nonce"), None);
    }

    #[test]
    fn what_is_not_a_structured_field_is_refused() {
        assert_eq!(dictionary("sig1"), None);
        assert_eq!(dictionary("a=1, a=2"), None);
        assert_eq!(dictionary(r#"a="open"#), None);
        assert_eq!(inner_list("(@method)"), None);
        assert_eq!(inner_list(r#"("@method""#), None);
        assert_eq!(byte_sequence("YSxi"), None);
    }
}
