//! Snowflake ids: 48 bits of milliseconds and 16 bits of a sequence. They are made by the
//! database (function `snowflake()`); here is only what reads them.

use time::OffsetDateTime;

/// The smallest id of a moment: what is older than `at` is below it.
pub fn id_at(at: OffsetDateTime) -> i64 {
    ((at.unix_timestamp_nanos() / 1_000_000) as i64) << 16
}

/// When an id was made, to the millisecond.
pub fn time_of(id: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(id >> 16) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_survives_to_the_millisecond() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a valid time");
        assert_eq!(time_of(id_at(at)), at);
        assert_eq!(time_of(id_at(at) | 0xffff), at);
    }
}
