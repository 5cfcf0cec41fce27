//! Go's `time.Time.String` and RFC 3339, to the second: all that certificates and SPIRE's API carry.

use std::fmt;
use time::{OffsetDateTime, UtcOffset};

/// `2026-11-22 16:57:52 +0000 UTC`.
pub(in crate::cli) fn utc(unix_secs: i64) -> String {
    full(at(unix_secs))
}

/// As [`utc`] in the zone of the machine. Where Go writes the zone's name, this writes its offset a
/// second time, as Go does for a zone without a name: `2026-11-22 17:57:52 +0100 +01`.
pub(in crate::cli) fn local(unix_secs: i64) -> String {
    let moment = at(unix_secs);
    // The system says no zone when there are several threads: then universal time is right too.
    let offset = UtcOffset::local_offset_at(moment).unwrap_or(UtcOffset::UTC);
    full(moment.to_offset(offset))
}

/// `2026-11-22T16:57:52Z`.
pub(in crate::cli) fn rfc3339(unix_secs: i64) -> String {
    let moment = at(unix_secs);
    format!("{}T{}Z", moment.date(), Clock(moment))
}

fn at(unix_secs: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix_secs).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn full(moment: OffsetDateTime) -> String {
    let (hours, minutes, _) = moment.offset().as_hms();
    let sign = if moment.offset().is_negative() { '-' } else { '+' };
    let (hours, minutes) = (hours.unsigned_abs(), minutes.unsigned_abs());
    let name = match (hours, minutes) {
        (0, 0) => "UTC".to_owned(),
        (_, 0) => format!("{sign}{hours:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}"),
    };
    format!("{} {} {sign}{hours:02}{minutes:02} {name}", moment.date(), Clock(moment))
}

/// `16:57:52`.
struct Clock(OffsetDateTime);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0.hour(), self.0.minute(), self.0.second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_writes_them() {
        assert_eq!(utc(1_893_456_000), "2030-01-01 00:00:00 +0000 UTC");
        assert_eq!(rfc3339(1_795_370_282), "2026-11-22T17:58:02Z");
        assert_eq!(utc(i64::MAX), "1970-01-01 00:00:00 +0000 UTC", "no year has so many digits");
        let offset = UtcOffset::from_hms(-3, -30, 0).unwrap();
        assert_eq!(full(at(0).to_offset(offset)), "1969-12-31 20:30:00 -0330 -0330");
        let offset = UtcOffset::from_hms(1, 0, 0).unwrap();
        assert_eq!(full(at(0).to_offset(offset)), "1970-01-01 01:00:00 +0100 +01");
    }
}
