//! `SET` and `SHOW`: what clients set out of habit is accepted where it asks for what is done anyway, and refused by
//! name where it would be a lie.

use flaredb_core::SqlState;
use flaredb_sql::Error;

/// The release of PostgreSQL whose manners are kept, and ours.
pub(super) fn server_version() -> String {
    format!("15.0 (Holdfast {})", env!("CARGO_PKG_VERSION"))
}

/// Settings and their values here. They cannot be changed.
const FIXED: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "on"),
    ("transaction_read_only", "on"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "public"),
    ("bytea_output", "hex"),
    ("integer_datetimes", "on"),
    ("max_identifier_length", "63"),
];

/// Settings that change nothing here, whatever their value.
const WITHOUT_EFFECT: &[&str] = &["application_name", "extra_float_digits", "client_min_messages"];

pub(super) fn show(name: &str) -> Result<String, Error> {
    let name = match name {
        "transaction isolation level" => "transaction_isolation",
        "time zone" => "timezone",
        other => other,
    };
    if name == "server_version" {
        return Ok(server_version());
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(String::new());
    }
    FIXED.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()).ok_or_else(|| unknown(name))
}

pub(super) fn set(name: &str, value: &str) -> Result<(), Error> {
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(());
    }
    let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == name) else { return Err(unknown(name)) };
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' ', '"', '\''], "");
    // `ISO` alone asks for what is done; so do PostgreSQL's other words for the same.
    let same = plain(fixed) == plain(value)
        || matches!(
            (name, plain(value).as_str()),
            (_, "default") | ("datestyle", "iso" | "iso,mdy" | "iso,dmy") | ("timezone", "etc/utc" | "gmt")
        );
    if same {
        return Ok(());
    }
    let message = format!("{name} is \"{fixed}\" here and cannot be changed");
    Err(Error::new(SqlState::FeatureNotSupported, message))
}

fn unknown(name: &str) -> Error {
    let name: String = name.chars().take(63).collect();
    Error::new(SqlState::FeatureNotSupported, format!("there is no setting \"{name}\" here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_kept_and_lies_refused() {
        for (name, value) in
            [("client_encoding", "utf-8"), ("datestyle", "ISO"), ("timezone", "UTC"), ("application_name", "x")]
        {
            set(name, value).unwrap();
            show(name).unwrap();
        }
        for (name, value) in [("timezone", "Europe/Paris"), ("client_encoding", "LATIN1"), ("statement_timeout", "1")] {
            assert_eq!(set(name, value).unwrap_err().state, SqlState::FeatureNotSupported);
        }
    }
}
