//! Reads the text of single settings: durations as Go writes them, words from a list, addresses, socket paths.

use std::net::{AddrParseError, IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::Secret;
use crate::spiffe;

/// The longest path a Unix socket can be bound to on Linux: `sun_path` of `sockaddr_un` less its final NUL.
pub const MAX_SOCKET_PATH: usize = 107;

/// Why a text is not the value a setting needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a whole number of 64 bits.
    #[error("expected a whole number")]
    NotAnInteger,
    /// Not in Go's notation, or longer than 292 years.
    #[error("expected a duration such as 1h30m, 10s or 500ms")]
    NotADuration,
    /// A lifetime or interval that is too short to mean anything.
    #[error("expected at least {}", spell_duration(*least))]
    TooShort {
        /// The shortest that works.
        least: Duration,
    },
    /// Not one of the words the setting knows.
    #[error("expected one of {}", allowed.join(", "))]
    NotAChoice {
        /// The words.
        allowed: Vec<&'static str>,
    },
    /// A word that SPIRE knows and finial does not yet.
    #[error("finial does not support it yet, only {}", supported.join(", "))]
    UnsupportedChoice {
        /// The words finial knows.
        supported: Vec<&'static str>,
    },
    /// Not a trust domain.
    #[error(transparent)]
    TrustDomain(#[from] spiffe::id::Error),
}

/// The name of a trust domain.
///
/// # Errors
///
/// If it breaks a rule of the SPIFFE ID specification.
pub fn trust_domain(text: &str) -> Result<spiffe::TrustDomain, Error> {
    Ok(spiffe::TrustDomain::parse(text)?)
}

/// A text as it is.
///
/// # Errors
///
/// Never; it has the shape of the other readers.
pub fn string(text: &str) -> Result<String, Error> {
    Ok(text.to_owned())
}

/// A file or directory.
///
/// # Errors
///
/// Never; it has the shape of the other readers.
pub fn path(text: &str) -> Result<PathBuf, Error> {
    Ok(PathBuf::from(text))
}

/// A whole number as Go's `strconv.ParseInt` reads it with base 0: decimal, `0x` hexadecimal, `0` octal.
///
/// # Errors
///
/// If it is none, or does not fit 64 bits.
pub fn integer(text: &str) -> Result<i64, Error> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let hexadecimal = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let octal = unsigned.strip_prefix('0').filter(|digits| !digits.is_empty());
    let (digits, base) = match (hexadecimal, octal) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (unsigned, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return Err(Error::NotAnInteger);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| Error::NotAnInteger)
}

/// A text that must not be seen.
///
/// # Errors
///
/// Never; it has the shape of the other readers.
pub fn secret(text: &str) -> Result<Secret, Error> {
    Ok(Secret::new(text.to_owned()))
}

/// A lifetime: certificates count whole seconds, so a shorter one would be none.
///
/// # Errors
///
/// If it is no duration or shorter than a second.
pub fn lifetime(text: &str) -> Result<Duration, Error> {
    at_least(text, Duration::from_secs(1))
}

/// An interval between two actions; below 10 ms it would be a busy loop.
///
/// # Errors
///
/// If it is no duration or shorter than 10 ms.
pub fn interval(text: &str) -> Result<Duration, Error> {
    at_least(text, Duration::from_millis(10))
}

/// A duration that may be nothing: zero where zero means a default.
///
/// # Errors
///
/// If it is no duration, or a negative one.
pub fn duration(text: &str) -> Result<Duration, Error> {
    at_least(text, Duration::ZERO)
}

fn at_least(text: &str, least: Duration) -> Result<Duration, Error> {
    match parse_duration(text) {
        None => Err(Error::NotADuration),
        Some(Sign::Plus(duration)) if duration >= least => Ok(duration),
        Some(_) => Err(Error::TooShort { least }),
    }
}

/// One word of a table, in any case.
///
/// # Errors
///
/// If the table does not have it.
pub fn choice<T: Copy>(text: &str, table: &[(&'static str, T)]) -> Result<T, Error> {
    table
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .map(|(_, value)| *value)
        .ok_or_else(|| Error::NotAChoice { allowed: table.iter().map(|(word, _)| *word).collect() })
}

/// One word of a table, where SPIRE knows more words than finial.
///
/// # Errors
///
/// If the table does not have it; it says so when only finial does not.
pub fn supported_choice<T: Copy>(
    text: &str,
    table: &[(&'static str, T)],
    unsupported: &[&str],
) -> Result<T, Error> {
    choice(text, table).map_err(|error| {
        let is_spires = unsupported.iter().any(|word| word.eq_ignore_ascii_case(text));
        match error {
            Error::NotAChoice { allowed } if is_spires => {
                Error::UnsupportedChoice { supported: allowed }
            }
            other => other,
        }
    })
}

/// The address a listener binds to: an IP address, in brackets or not, or `localhost`.
///
/// A name is not looked up: which interface a listener opens must not depend on a name server.
///
/// # Errors
///
/// If it is neither.
pub fn listen_address(host: &str) -> Result<IpAddr, AddrParseError> {
    match host.trim_matches(['[', ']']) {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        address => address.parse(),
    }
}

/// A path from the root, as the working directory has it.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

enum Sign {
    Plus(Duration),
    Minus,
}

/// Go's `time.ParseDuration`: signed decimal numbers, each with a unit, in nanoseconds of an `i64`.
fn parse_duration(text: &str) -> Option<Sign> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.is_empty() {
        return None;
    }
    let mut nanoseconds = 0_u128;
    let mut rest = if unsigned == "0" { "" } else { unsigned };
    while !rest.is_empty() {
        let (amount, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        let unit = nanoseconds_in(unit)?;
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        nanoseconds = nanoseconds
            .checked_add(number(whole)?.checked_mul(unit)?)?
            .checked_add(part_of(unit, fraction)?)?;
        rest = after;
    }
    let nanoseconds = i64::try_from(nanoseconds).ok()?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Some(Sign::Minus);
    }
    Some(Sign::Plus(Duration::from_nanos(nanoseconds.unsigned_abs())))
}

fn split(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse().ok()
}

/// `0.fraction` of a unit; digits below the nanosecond of an hour are cut.
fn part_of(unit: u128, fraction: &str) -> Option<u128> {
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(18))?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    number(fraction)?.checked_mul(unit)?.checked_div(scale)
}

fn nanoseconds_in(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A duration as an operator would write it: `4h`, `1h30m`, `10s`, `10ms`.
#[must_use]
pub fn spell_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let spelled: String = parts
        .iter()
        .filter(|(amount, _)| *amount > 0)
        .map(|(amount, unit)| format!("{amount}{unit}"))
        .collect();
    if spelled.is_empty() { "0s".to_owned() } else { spelled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("1h30m", 5_400_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1h1m1s1ms", 3_661_001),
            ("+1s", 1_000),
            ("2540400h10m10s", 9_145_440_610_000),
        ] {
            let least = Duration::ZERO;
            let read = at_least(text, least).unwrap();
            assert_eq!(read, Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_as_a_duration_is_refused() {
        for text in [
            "", "1", "10", "h", "1d", "1 h", "1h ", "-", "+", ".s", "1..5s", "9999999h", "1h-5m",
            "1.2.3s",
        ] {
            assert!(matches!(lifetime(text), Err(Error::NotADuration)), "{text}");
        }
    }

    #[test]
    fn integers_read_as_go_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("8081", Some(8081)),
            ("-5", Some(-5)),
            ("010", Some(8)),
            ("0x10", Some(16)),
            ("08", None),
            ("", None),
            ("1.5", None),
            ("+-1", None),
            ("9223372036854775808", None),
            ("0x", None),
        ] {
            assert_eq!(integer(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn a_lifetime_below_a_second_is_refused_with_the_least() {
        for text in ["0", "0s", "999ms", "-1h", "-1ns"] {
            let error = lifetime(text).unwrap_err();
            assert_eq!(error.to_string(), "expected at least 1s", "{text}");
        }
    }

    #[test]
    fn a_listen_address_is_a_number_or_localhost() {
        for (host, address) in
            [("0.0.0.0", "0.0.0.0"), ("localhost", "127.0.0.1"), ("[::1]", "::1"), ("::", "::")]
        {
            assert_eq!(listen_address(host).unwrap().to_string(), address);
        }
        assert!(listen_address("example.org").is_err());
    }

    #[test]
    fn durations_are_spelled_without_idle_units() {
        for (seconds, text) in
            [(0, "0s"), (14_400, "4h"), (5_400, "1h30m"), (3_605, "1h5s"), (59, "59s")]
        {
            assert_eq!(spell_duration(Duration::from_secs(seconds)), text);
        }
    }
}
