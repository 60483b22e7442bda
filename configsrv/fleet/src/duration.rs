use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A length of time as people write it: `90s`, `5m`, `1h`, `2d`, `0`. Whole seconds, at most 10 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration; write 90s, 5m, 1h, 2d or 0")]
pub struct SpanError(String);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Span {
    const MAX: u64 = 3660 * DAY;

    /// Seconds beyond ten years are cut to ten years.
    pub fn from_secs(seconds: u64) -> Self {
        Self(seconds.min(Self::MAX))
    }

    pub fn as_secs(self) -> u64 {
        self.0
    }

    pub fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let failed = || SpanError(text.chars().take(40).collect());
        if text == "0" {
            return Ok(Self(0));
        }
        let (digits, unit) = match text.char_indices().next_back() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], MINUTE),
            Some((at, 'h')) => (&text[..at], HOUR),
            Some((at, 'd')) => (&text[..at], DAY),
            _ => return Err(failed()),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(failed());
        }
        let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(failed)?;
        if seconds > Self::MAX { Err(failed()) } else { Ok(Self(seconds)) }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => out.write_str("0"),
            seconds if seconds % DAY == 0 => write!(out, "{}d", seconds / DAY),
            seconds if seconds % HOUR == 0 => write!(out, "{}h", seconds / HOUR),
            seconds if seconds % MINUTE == 0 => write!(out, "{}m", seconds / MINUTE),
            seconds => write!(out, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_s_durations() {
        for (text, seconds) in [("0", 0), ("90s", 90), ("5m", 300), ("1h", 3600), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap().as_secs(), seconds);
        }
        for text in ["", "5", "m", "-5m", "5 m", "1.5h", "99999999999999999999s", "4000d", "5µ"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!("300s".parse::<Span>().unwrap().to_string(), "5m");
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
    }
}
