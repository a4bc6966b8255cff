//! The types of single settings: each reads a string and says what it wanted to see.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration as people write it: `200ms`, `5s`, `2m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write 200ms, 5s, 2m, 1h or 7d");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis_per_unit: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let millis = number.checked_mul(millis_per_unit).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A name suffix and the address that is connected to instead of resolving such names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostMapping {
    /// For example `.test`.
    pub(crate) suffix: String,
    /// Where names with that suffix are.
    pub(crate) address: SocketAddr,
}

impl FromStr for HostMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a mapping: write suffix=address, like .test=127.0.0.1:4001")
        };
        let (suffix, address) = text.split_once('=').ok_or_else(wrong)?;
        if suffix.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            suffix: suffix.to_ascii_lowercase(),
            address: address.parse().map_err(|_| wrong())?,
        })
    }
}

/// Which rules the configuration is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Works with nothing set up.
    Development,
    /// Refuses what is unsafe on the open internet.
    Production,
}

/// Whether strangers may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RegistrationMode {
    /// Everybody.
    Open,
    /// Everybody, once a moderator agreed.
    Approval,
    /// Who was invited.
    Invite,
    /// Nobody.
    Closed,
}

impl RegistrationMode {
    /// As the settings table spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approval => "approval",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for RegistrationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! deserialize_from_str {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    )+};
}

deserialize_from_str!(Span, HostMapping);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5y",
            "1.5s",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn mappings_need_a_suffix_and_an_address() {
        let mapping: HostMapping = ".Test=127.0.0.1:4001".parse().expect("a mapping");
        assert_eq!(mapping.suffix, ".test");
        for text in ["", ".test", "=127.0.0.1:1", ".test=localhost"] {
            assert!(text.parse::<HostMapping>().is_err(), "{text}");
        }
    }
}
