use bytes::{Bytes, BytesMut};

/// Cuts JSON objects, one after the other, out of what comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Values {
    buffer: BytesMut,
    /// Of the buffer, looked at already.
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// What comes is no sequence of objects; the text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotValues {
    #[error("a JSON object is expected")]
    NoObject,
    #[error("unexpected EOF")]
    Incomplete,
    #[error("the request is too large")]
    TooLarge,
}

impl Values {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole object, which may have `largest` bytes; none if it takes more to complete it.
    pub(super) fn next(&mut self, largest: usize) -> Result<Option<Bytes>, NotValues> {
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            if self.depth == 0 && byte.is_ascii_whitespace() {
                // Between two objects.
                let _ = self.buffer.split_to(self.seen + 1);
                self.seen = 0;
                continue;
            }
            self.seen += 1;
            if self.in_string {
                self.string(byte);
                continue;
            }
            match byte {
                b'{' => self.depth += 1,
                _ if self.depth == 0 => return Err(NotValues::NoObject),
                b'"' => self.in_string = true,
                b'}' => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 {
                let value = self.buffer.split_to(std::mem::take(&mut self.seen)).freeze();
                return if value.len() > largest { Err(NotValues::TooLarge) } else { Ok(Some(value)) };
            }
        }
        if self.buffer.len() > largest { Err(NotValues::TooLarge) } else { Ok(None) }
    }

    /// Bytes of an object that is not complete.
    pub(super) fn unfinished(&self) -> usize {
        self.buffer.len()
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Result<(), NotValues> {
        if self.buffer.is_empty() { Ok(()) } else { Err(NotValues::Incomplete) }
    }

    fn string(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&str]) -> Result<Vec<String>, NotValues> {
        let (mut values, mut found) = (Values::default(), Vec::new());
        for chunk in chunks {
            values.push(chunk.as_bytes());
            while let Some(value) = values.next(100)? {
                found.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        values.end()?;
        Ok(found)
    }

    #[test]
    fn objects_come_whole_however_they_are_cut() {
        let text = r#" {"a":{"b":"}\"{\\"}}{} 
 {"c":[{}]}"#;
        let objects = [r#"{"a":{"b":"}\"{\\"}}"#, "{}", r#"{"c":[{}]}"#];
        assert_eq!(cut(&[text]).unwrap(), objects);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(cut(&bytes.iter().map(String::as_str).collect::<Vec<_>>()).unwrap(), objects);
        assert_eq!(cut(&[""]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(cut(&["[]"]), Err(NotValues::NoObject));
        assert_eq!(cut(&["{}}"]), Err(NotValues::NoObject));
        assert_eq!(cut(&[r#"{"a":"}"#]), Err(NotValues::Incomplete));
        assert_eq!(cut(&[&format!("{{{}", "x".repeat(100))]), Err(NotValues::TooLarge));
    }
}
