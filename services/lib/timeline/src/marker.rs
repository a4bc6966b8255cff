//! The head of every list: whether the list may be trusted, and down to where.

/// The first element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// A rebuild with this nonce runs; it is overdue after the deadline (Unix seconds).
    Building {
        /// Random, one per rebuild.
        nonce: String,
        /// Unix seconds.
        deadline: i64,
    },
    /// The list holds every id above `floor`.
    Complete {
        /// The highest id that was ever cut away; 0 for none. Below it SQL answers.
        floor: i64,
        /// The run of the store that the list was built in: after a restart or a fail-over it
        /// differs, and the list counts as absent.
        run: String,
    },
}

impl Marker {
    /// As it is stored.
    pub fn encode(&self) -> String {
        match self {
            Self::Building { nonce, deadline } => format!("building:{nonce}:{deadline}"),
            Self::Complete { floor, run } => format!("complete:{floor}:{run}"),
        }
    }

    /// Reads a stored marker; `None` for anything else, which counts as an absent list.
    pub fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (first, second) = rest.split_once(':')?;
        match kind {
            "building" => Some(Self::Building {
                nonce: first.to_owned(),
                deadline: second.parse().ok()?,
            }),
            "complete" => Some(Self::Complete {
                floor: first.parse().ok()?,
                run: second.to_owned(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_read_back_as_written() {
        let markers = [
            Marker::Building {
                nonce: "a1".to_owned(),
                deadline: 1_700_000_000,
            },
            Marker::Complete {
                floor: 7,
                run: "run".to_owned(),
            },
        ];
        for marker in markers {
            assert_eq!(Marker::decode(&marker.encode()), Some(marker));
        }
    }

    #[test]
    fn anything_else_is_no_marker() {
        for text in ["", "109", "complete:x:y", "building:a", "done:1:2"] {
            assert_eq!(Marker::decode(text), None, "{text}");
        }
    }
}
