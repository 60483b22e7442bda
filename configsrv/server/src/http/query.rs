use std::{collections::BTreeSet, str::FromStr, time::Duration};

use configsrv_fleet::{NodeName, Sequence, Span, Version};

use crate::Error;

/// A query whose every key is known and given once. Values here are numbers, durations and names, so nothing in them
/// is percent-encoded.
pub(crate) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    pub(crate) fn parse(text: &'a str, known: &[&str]) -> Result<Self, Error> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| bad(part, "it has no value"))?;
            if !known.contains(&key) {
                return Err(bad(key, "it is not known here"));
            }
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(bad(key, "it is given twice"));
            }
            pairs.push((key, value));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
    }

    pub(crate) fn version(&self, key: &str) -> Result<Option<Version>, Error> {
        self.number(key, "it is not a version")
    }

    pub(crate) fn sequence(&self, key: &str) -> Result<Option<Sequence>, Error> {
        self.number(key, "it is not a sequence")
    }

    fn number<T: FromStr>(&self, key: &str, why: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key) else { return Ok(None) };
        // `+7` is a number to Rust and not to us.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad(key, why));
        }
        text.parse().map(Some).map_err(|_| bad(key, why))
    }

    pub(crate) fn duration(&self, key: &str) -> Result<Duration, Error> {
        let Some(text) = self.text(key) else { return Ok(Duration::ZERO) };
        text.parse().map(Span::as_duration).map_err(|_| bad(key, "write a duration as 30s, 5m or 0"))
    }

    /// Nodes, with commas between their names.
    pub(crate) fn nodes(&self, key: &str) -> Result<BTreeSet<NodeName>, Error> {
        let Some(text) = self.text(key) else { return Ok(BTreeSet::new()) };
        let node = |name: &str| name.parse::<NodeName>().map_err(|_| bad(key, "write names of nodes as pier2,pier3"));
        text.split(',').map(node).collect()
    }

    /// How many rows, at most `most`, which is also the default.
    pub(crate) fn limit(&self, most: usize) -> Result<usize, Error> {
        let Some(text) = self.text("limit") else { return Ok(most) };
        match text.parse::<usize>() {
            Ok(0) | Err(_) => Err(bad("limit", "it is not a number from 1 on")),
            Ok(limit) => Ok(limit.min(most)),
        }
    }
}

fn bad(key: &str, why: &str) -> Error {
    Error::BadQuery(format!("{}: {why}", key.chars().take(40).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_once() {
        let parse = |text| Query::parse(text, &["version", "wait"]).map(|_| ());
        assert!(parse("").is_ok());
        assert!(parse("version=1&wait=30s").is_ok());
        for text in ["version", "version=1&version=1", "v=1", "versio%6e=1"] {
            assert!(matches!(parse(text), Err(Error::BadQuery(_))), "{text}");
        }
    }

    #[test]
    fn nodes_are_names_between_commas() {
        let nodes = |text: &str| Query::parse(text, &["of"])?.nodes("of").map(|nodes| nodes.len());
        assert_eq!((nodes(""), nodes("of=pier2"), nodes("of=pier2,pier3,pier2")), (Ok(0), Ok(1), Ok(2)));
        for text in ["of=", "of=pier2,", "of=Pier2", "of=pier2%2Cpier3"] {
            assert!(matches!(nodes(text), Err(Error::BadQuery(_))), "{text}");
        }
    }

    #[test]
    fn versions_are_plain_numbers() {
        let version = |text: &str| Query::parse(&format!("version={text}"), &["version"])?.version("version");
        assert_eq!(version("7").unwrap(), Some(Version::new(7).unwrap()));
        for text in ["", "-1", "+7", "7.0", "0x7", "18446744073709551616", "9007199254740993", "seven"] {
            assert!(matches!(version(text), Err(Error::BadQuery(_))), "{text}");
        }
    }
}
