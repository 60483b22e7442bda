//! Paths that different parsers read differently are refused before anybody looks at them: a rule that protects
//! `/admin` must not be passed by `//admin`, `/x/../admin` or `/%61dmin`.

/// Whether every parser agrees on the segments of `path`.
pub(crate) fn is_plain(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    if path == "/" {
        return true;
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let trailing = segment.is_empty() && segments.peek().is_none();
        if !trailing && !is_plain_segment(segment) {
            return false;
        }
    }
    true
}

fn is_plain_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    !bytes.is_empty() && segment != "." && segment != ".." && bytes.iter().all(|byte| is_plain_byte(*byte))
}

/// No percent sign: no name of ours needs encoding, and `%2e`, `%2f` and double encoding are how paths are disguised.
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'%' | b'\\' | b';' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass() {
        for path in
            ["/", "/health", "/iam.v1.Tokens/Issue", "/v1/pre-reboot", "/nodes/pier-2_x~/", "/a...b", "/*", "/a:b"]
        {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn disguises_do_not() {
        for path in [
            "",
            "*",
            "health",
            "//health",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/.",
            "/%2e%2e/a",
            "/a%2fb",
            "/%61dmin",
            "/a\\b",
            "/a;x=1/b",
            "/a b",
            "/a\u{7f}",
            "/ä",
            "/a/..",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
