//! How long a client waits for a call, which it says in the call's metadata (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use http::HeaderMap;

/// The protocol's most digits.
const DIGITS: usize = 8;

/// The time that the headers give; none if they give none, or what is no time.
pub(super) fn given(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > DIGITS || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_time_is_digits_and_a_unit() {
        let of = |text: &'static str| {
            given(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))]))
        };
        for (text, time) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("500m", Duration::from_millis(500)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(of(text), Some(time), "{text}");
        }
        for wrong in ["", "S", "5", "5s", "-1S", "+1S", "1.5S", "100000000S"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
