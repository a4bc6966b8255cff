//! To whom a post is addressed: the table that every other server reads visibility from.

use crate::PUBLIC;
use tidegate_model::Visibility;

/// The two address lists of an activity and its object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// Primary.
    pub to: Vec<String>,
    /// Secondary.
    pub cc: Vec<String>,
}

/// The addresses of a post with this visibility, by an author with this followers collection,
/// that mentions these actors.
pub fn audience(visibility: Visibility, followers: &str, mentioned: &[String]) -> Audience {
    let one = |address: &str| vec![address.to_owned()];
    let and_mentioned = |first: &str| {
        let mut addresses = one(first);
        addresses.extend(mentioned.iter().cloned());
        addresses
    };
    match visibility {
        Visibility::Public => Audience {
            to: one(PUBLIC),
            cc: and_mentioned(followers),
        },
        Visibility::Unlisted => Audience {
            to: one(followers),
            cc: and_mentioned(PUBLIC),
        },
        Visibility::Private => Audience {
            to: one(followers),
            cc: mentioned.to_vec(),
        },
        Visibility::Direct => Audience {
            to: mentioned.to_vec(),
            cc: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_exact() {
        let mentioned = ["https://b.test/bob".to_owned()];
        let bob = "https://b.test/bob";
        let followers = "https://a.test/followers";
        for (visibility, to, cc) in [
            (Visibility::Public, vec![PUBLIC], vec![followers, bob]),
            (Visibility::Unlisted, vec![followers], vec![PUBLIC, bob]),
            (Visibility::Private, vec![followers], vec![bob]),
            (Visibility::Direct, vec![bob], vec![]),
        ] {
            let audience = audience(visibility, followers, &mentioned);
            assert_eq!(audience.to, to, "{visibility:?}");
            assert_eq!(audience.cc, cc, "{visibility:?}");
        }
    }
}
