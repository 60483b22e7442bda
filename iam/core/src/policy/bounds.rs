//! How deep a policy's text may go. Whoever parses, checks or evaluates it goes as deep, on a stack that ends somewhere.

/// Brackets in brackets, and conditions in conditions.
const MAX_DEPTH: usize = 64;

/// Enough for a text of the permitted length, however it is built within these bounds.
const STACK: usize = 64 << 20;

/// Why the text at this place (line and column, from 1) is not looked at any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Where `text` goes too deep, if it does.
pub(super) fn check(text: &str) -> Result<(), TooDeep> {
    let (mut brackets, mut conditions) = (0usize, 0usize);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '"' => string(rest),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if next.is_alphanumeric() || next == '_' => {
                let end = rest.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(rest.len());
                conditions += usize::from(rest.get(..end) == Some("if"));
                end
            }
            '(' | '[' | '{' => {
                brackets += 1;
                1
            }
            ')' | ']' | '}' => {
                brackets = brackets.saturating_sub(1);
                1
            }
            _ => next.len_utf8(),
        };
        if brackets > MAX_DEPTH || conditions > MAX_DEPTH {
            let before = text.len() - rest.len();
            let before = text.get(..before).unwrap_or_default();
            let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
            let column = before.get(line_begin..).unwrap_or_default().chars().count() + 1;
            return Err(TooDeep { line: before.matches('\n').count() + 1, column });
        }
        rest = rest.get(taken.max(1)..).unwrap_or_default();
    }
    Ok(())
}

/// The length of the string that `text` begins with, quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, one) in text.char_indices().skip(1) {
        match one {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Runs what goes as deep as a text within the bounds may.
pub(super) fn deep<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(STACK, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_conditions_are_counted_where_they_count() {
        let nested = |open: &str, close: &str, depth| format!("{}true{}", open.repeat(depth), close.repeat(depth));
        for (open, close) in [("(", ")"), ("[", "]"), ("{a:", "}"), ("if ", " then true else false")] {
            assert_eq!(check(&nested(open, close, MAX_DEPTH)), Ok(()), "{open}");
            assert!(check(&nested(open, close, MAX_DEPTH + 1)).is_err(), "{open}");
        }
        let beside = "[ip(\"10.0.0.1\")], ".repeat(500);
        assert_eq!(check(&beside), Ok(()));
        let text = "(".repeat(100);
        assert_eq!(check(&format!("\"{text}\\\"{text}\" // {text}\n")), Ok(()));
        assert_eq!(check(&format!("\"\\\\\"\n é{text}")), Err(TooDeep { line: 2, column: 67 }));
    }
}
