//! What a token may do.

/// Makes the enum, its spellings and the list of all from one table.
macro_rules! scopes {
    ($($variant:ident => $text:literal,)*) => {
        /// A scope that Mastodon's clients know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Scope {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Scope {
            /// Every scope, for metadata and the check at registration.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As requests spell it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

scopes! {
    Read => "read",
    ReadAccounts => "read:accounts",
    ReadBlocks => "read:blocks",
    ReadBookmarks => "read:bookmarks",
    ReadCollections => "read:collections",
    ReadFavourites => "read:favourites",
    ReadFilters => "read:filters",
    ReadFollows => "read:follows",
    ReadLists => "read:lists",
    ReadMutes => "read:mutes",
    ReadNotifications => "read:notifications",
    ReadSearch => "read:search",
    ReadStatuses => "read:statuses",
    Write => "write",
    WriteAccounts => "write:accounts",
    WriteBlocks => "write:blocks",
    WriteBookmarks => "write:bookmarks",
    WriteCollections => "write:collections",
    WriteConversations => "write:conversations",
    WriteFavourites => "write:favourites",
    WriteFilters => "write:filters",
    WriteFollows => "write:follows",
    WriteLists => "write:lists",
    WriteMedia => "write:media",
    WriteMutes => "write:mutes",
    WriteNotifications => "write:notifications",
    WriteReports => "write:reports",
    WriteStatuses => "write:statuses",
    Follow => "follow",
    Push => "push",
    Profile => "profile",
    AdminRead => "admin:read",
    AdminReadAccounts => "admin:read:accounts",
    AdminReadReports => "admin:read:reports",
    AdminReadDomainAllows => "admin:read:domain_allows",
    AdminReadDomainBlocks => "admin:read:domain_blocks",
    AdminReadIpBlocks => "admin:read:ip_blocks",
    AdminReadEmailDomainBlocks => "admin:read:email_domain_blocks",
    AdminReadCanonicalEmailBlocks => "admin:read:canonical_email_blocks",
    AdminWrite => "admin:write",
    AdminWriteAccounts => "admin:write:accounts",
    AdminWriteReports => "admin:write:reports",
    AdminWriteDomainAllows => "admin:write:domain_allows",
    AdminWriteDomainBlocks => "admin:write:domain_blocks",
    AdminWriteIpBlocks => "admin:write:ip_blocks",
    AdminWriteEmailDomainBlocks => "admin:write:email_domain_blocks",
    AdminWriteCanonicalEmailBlocks => "admin:write:canonical_email_blocks",
}

impl Scope {
    /// The scope of this spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }
}

/// Whether a token that holds `granted` may do what needs `needed`.
pub(crate) fn covers(granted: &[String], needed: Scope) -> bool {
    granted
        .iter()
        .any(|scope| covers_one(scope, needed.as_str()))
}

fn covers_one(granted: &str, needed: &str) -> bool {
    granted == needed
        || needed
            .strip_prefix(granted)
            .is_some_and(|rest| rest.starts_with(':'))
        // From before scopes had parts: reading and writing of who follows, blocks and mutes whom.
        || (granted == "follow"
            && matches!(
                needed,
                "read:follows" | "write:follows" | "read:blocks" | "write:blocks"
                    | "read:mutes" | "write:mutes"
            ))
}

/// Splits a scope parameter; `None` when one of them is unknown. Nothing means `read`.
pub(crate) fn parse_list(text: &str) -> Option<Vec<String>> {
    let mut scopes = Vec::new();
    for word in text.split([' ', '+', ',']).filter(|word| !word.is_empty()) {
        let scope = Scope::parse(word)?.as_str().to_owned();
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        scopes.push(Scope::Read.as_str().to_owned());
    }
    Some(scopes)
}

/// Whether every one of `asked` lies within `granted`.
pub(crate) fn is_subset(asked: &[String], granted: &[String]) -> bool {
    asked
        .iter()
        .all(|one| granted.iter().any(|other| covers_one(other, one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(text: &str) -> Vec<String> {
        parse_list(text).expect("known scopes")
    }

    #[test]
    fn a_parent_covers_its_children_and_nothing_else() {
        assert!(covers(&granted("read"), Scope::ReadAccounts));
        assert!(covers(&granted("admin:read"), Scope::AdminReadReports));
        assert!(!covers(&granted("read"), Scope::WriteAccounts));
        assert!(!covers(&granted("read"), Scope::AdminRead));
        assert!(!covers(&granted("read:accounts"), Scope::Read));
        assert!(!covers(&granted("write:statuses"), Scope::WriteMedia));
    }

    #[test]
    fn the_legacy_scope_reaches_follows_blocks_and_mutes() {
        assert!(covers(&granted("follow"), Scope::WriteFollows));
        assert!(covers(&granted("follow"), Scope::ReadMutes));
        assert!(!covers(&granted("follow"), Scope::WriteStatuses));
    }

    #[test]
    fn unknown_scopes_are_refused_and_none_means_read() {
        assert_eq!(parse_list("read launch:missiles"), None);
        assert_eq!(parse_list(""), Some(vec!["read".to_owned()]));
        assert!(is_subset(&granted("read:accounts"), &granted("read write")));
        assert!(!is_subset(&granted("push"), &granted("read write")));
    }
}
