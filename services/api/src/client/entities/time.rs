//! How times are spelled: ISO 8601 in UTC with milliseconds.

use time::{OffsetDateTime, Time, UtcOffset};

/// For example `2022-08-30T23:05:46.839Z`.
pub(crate) fn datetime(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// The start of the day: an account's age is not told more exactly.
pub(crate) fn midnight(at: OffsetDateTime) -> String {
    datetime(at.to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT))
}

/// The day alone.
pub(crate) fn date(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}",
        at.year(),
        u8::from(at.month()),
        at.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime as at;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let moment = at!(2022-08-31 01:05:46.839123 +2);
        assert_eq!(datetime(moment), "2022-08-30T23:05:46.839Z");
        assert_eq!(midnight(moment), "2022-08-30T00:00:00.000Z");
        assert_eq!(date(moment), "2022-08-30");
    }

    #[test]
    fn whole_seconds_keep_their_zeros() {
        assert_eq!(
            datetime(at!(2000-01-01 0:00 UTC)),
            "2000-01-01T00:00:00.000Z"
        );
    }
}
