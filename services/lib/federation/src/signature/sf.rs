//! As much of structured fields (RFC 9651) as signatures need: dictionaries whose members are
//! items or inner lists. Values keep their spelling, so that printing what was read gives the
//! canonical text that was signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Longer headers than this are refused: ten signatures fit.
const MAX_BYTES: usize = 8 * 1024;

/// More members, list items or parameters than this are refused.
const MAX_MEMBERS: usize = 64;

/// A bare item by its spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bare {
    /// Integer or decimal, as written.
    Number(String),
    /// The text between the quotes, with its escapes undone.
    Text(String),
    /// The text between the colons.
    Binary(String),
    Token(String),
    Boolean(bool),
}

/// Parameters in their order; names are unique.
pub(super) type Parameters = Vec<(String, Bare)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Item(Bare, Parameters),
    List(Vec<(Bare, Parameters)>, Parameters),
}

impl Member {
    /// The decoded bytes of a binary item.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Item(Bare::Binary(text), _) => STANDARD.decode(text).ok(),
            _ => None,
        }
    }
}

impl Bare {
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Self::Number(text) | Self::Token(text) => out.push_str(text),
            Self::Text(text) => {
                out.push('"');
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(character);
                }
                out.push('"');
            }
            Self::Binary(text) => {
                out.push(':');
                out.push_str(text);
                out.push(':');
            }
            Self::Boolean(true) => out.push_str("?1"),
            Self::Boolean(false) => out.push_str("?0"),
        }
    }
}

pub(super) fn print_parameters(parameters: &Parameters, out: &mut String) {
    for (name, value) in parameters {
        out.push(';');
        out.push_str(name);
        if *value != Bare::Boolean(true) {
            out.push('=');
            value.print(out);
        }
    }
}

/// Reads a dictionary. A name given twice, or anything beyond the bounds, makes it `None`.
pub(super) fn dictionary(text: &str) -> Option<Vec<(String, Member)>> {
    if text.len() > MAX_BYTES || !text.is_ascii() {
        return None;
    }
    let mut reader = Reader(text.trim_matches(' '));
    let mut members: Vec<(String, Member)> = Vec::new();
    while !reader.0.is_empty() {
        let name = reader.key()?;
        if members.len() >= MAX_MEMBERS || members.iter().any(|(other, _)| *other == name) {
            return None;
        }
        let member = if reader.eat('=') {
            reader.member()?
        } else {
            Member::Item(Bare::Boolean(true), reader.parameters()?)
        };
        members.push((name, member));
        reader.skip(&[' ', '\t']);
        if reader.0.is_empty() {
            break;
        }
        if !reader.eat(',') {
            return None;
        }
        reader.skip(&[' ', '\t']);
        if reader.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// The rest of the text; always ASCII, so that bytes are characters.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn eat(&mut self, character: char) -> bool {
        match self.0.strip_prefix(character) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn skip(&mut self, blanks: &[char]) {
        self.0 = self.0.trim_start_matches(blanks);
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let end = self
            .0
            .bytes()
            .position(|byte| !wanted(byte))
            .unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<String> {
        let first = self.0.bytes().next()?;
        if !(first.is_ascii_lowercase() || first == b'*') {
            return None;
        }
        let key = self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        });
        Some(key.to_owned())
    }

    fn member(&mut self) -> Option<Member> {
        if !self.eat('(') {
            let item = self.bare()?;
            return Some(Member::Item(item, self.parameters()?));
        }
        let mut items = Vec::new();
        loop {
            self.skip(&[' ']);
            if self.eat(')') {
                return Some(Member::List(items, self.parameters()?));
            }
            if items.len() >= MAX_MEMBERS {
                return None;
            }
            let item = self.bare()?;
            items.push((item, self.parameters()?));
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        while self.eat(';') {
            self.skip(&[' ']);
            let name = self.key()?;
            if parameters.len() >= MAX_MEMBERS || parameters.iter().any(|(other, _)| *other == name)
            {
                return None;
            }
            let value = if self.eat('=') {
                self.bare()?
            } else {
                Bare::Boolean(true)
            };
            parameters.push((name, value));
        }
        Some(parameters)
    }

    fn bare(&mut self) -> Option<Bare> {
        match self.0.bytes().next()? {
            b'"' => self.text(),
            b':' => {
                self.eat(':');
                let body =
                    self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.eat(':').then(|| Bare::Binary(body.to_owned()))
            }
            b'?' => {
                self.eat('?');
                match self.take_while(|byte| matches!(byte, b'0' | b'1')) {
                    "1" => Some(Bare::Boolean(true)),
                    "0" => Some(Bare::Boolean(false)),
                    _ => None,
                }
            }
            b'-' | b'0'..=b'9' => {
                let number = self.take_while(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
                number
                    .parse::<f64>()
                    .ok()
                    .map(|_| Bare::Number(number.to_owned()))
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                let token = self.take_while(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(Bare::Token(token.to_owned()))
            }
            _ => None,
        }
    }

    fn text(&mut self) -> Option<Bare> {
        let mut text = String::new();
        let mut bytes = self.0.bytes().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(Bare::Text(text));
                }
                b'\\' => match bytes.next()?.1 {
                    escaped @ (b'"' | b'\\') => text.push(char::from(escaped)),
                    _ => return None,
                },
                b' '..=b'~' => text.push(char::from(byte)),
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(members: &[(String, Member)]) -> String {
        let mut out = String::new();
        for (index, (name, member)) in members.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            out.push_str(name);
            out.push('=');
            match member {
                Member::Item(item, parameters) => {
                    item.print(&mut out);
                    print_parameters(parameters, &mut out);
                }
                Member::List(items, parameters) => {
                    out.push('(');
                    for (index, (item, parameters)) in items.iter().enumerate() {
                        if index > 0 {
                            out.push(' ');
                        }
                        item.print(&mut out);
                        print_parameters(parameters, &mut out);
                    }
                    out.push(')');
                    print_parameters(parameters, &mut out);
                }
            }
        }
        out
    }

    #[test]
    fn a_signature_input_prints_as_it_was_signed() {
        let text = r#"sig1=("@method" "x";key="a\"b" "@query-param";name="q");created=1618884473;keyid="k\\";alg="ed25519", b=:AQ==:;x;y=?0;z=tok"#;
        let members = dictionary(text).expect("a dictionary");
        assert_eq!(print(&members), text);
    }

    #[test]
    fn blanks_are_made_canonical() {
        let members = dictionary("a=(  \"x\"   \"y\" ); created=1 ,\t b=?1").expect("a dictionary");
        assert_eq!(print(&members), "a=(\"x\" \"y\");created=1, b=?1");
    }

    #[test]
    fn what_is_ambiguous_or_broken_is_refused() {
        for text in [
            "a=1,a=2",
            "a=1;b=1;b=2",
            "a=1,",
            "a=(",
            "a=(\"x\"\"y\")",
            "a=\"x",
            "a=\"\\x\"",
            "a=:AA",
            "A=1",
            "a=?2",
            "a=--1",
            "a= 1",
            "a=1 b=2",
            "a=\u{e4}",
        ] {
            assert_eq!(dictionary(text), None, "{text}");
        }
        assert_eq!(
            dictionary(&format!("a=\"{}\"", "x".repeat(MAX_BYTES))),
            None
        );
        let crowd: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("k{n}")).collect();
        assert_eq!(dictionary(&crowd.join(",")), None);
    }

    proptest! {
        #[test]
        fn reading_and_printing_is_stable(text in "[a-z]{1,3}=[(]?[\"a-z;=:?0-9\\\\ )(,.-]{0,40}") {
            if let Some(members) = dictionary(&text) {
                let printed = print(&members);
                prop_assert_eq!(dictionary(&printed), Some(members));
            }
        }
    }
}
