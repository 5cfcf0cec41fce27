//! Go's `time.Duration.String`: `3.035426ms`, `13s`, `1h2m3s`.

use std::{fmt, time::Duration};

/// Shows a duration as Go does.
pub(in crate::cli) struct GoDuration(pub(in crate::cli) Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        // Below a second Go takes the largest unit that leaves a whole part.
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", Decimal { value: nanos, one: 1_000 }),
            1_000_000..1_000_000_000 => {
                write!(f, "{}ms", Decimal { value: nanos, one: 1_000_000 })
            }
            _ => {
                let (hours, minutes) = (self.0.as_secs() / 3_600, self.0.as_secs() / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                let value = nanos % 60_000_000_000;
                write!(f, "{}s", Decimal { value, one: 1_000_000_000 })
            }
        }
    }
}

/// `value / one` with as many digits as it needs.
struct Decimal {
    value: u128,
    one: u128,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value / self.one)?;
        let fraction = self.value % self.one;
        if fraction == 0 {
            return Ok(());
        }
        let digits = self.one.ilog10() as usize;
        let padded = format!("{fraction:0digits$}");
        write!(f, ".{}", padded.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (nanos, expected) in [
            (0, "0s"),
            (999, "999ns"),
            (1_100, "1.1µs"),
            (3_035_426, "3.035426ms"),
            (13_000_000_000, "13s"),
            (61_500_000_000, "1m1.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_000_000_001, "1h2m3.000000001s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), expected);
        }
    }
}
