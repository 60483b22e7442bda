//! Regular expressions as far as ours go: `^`, `$`, sets, groups, `|`, `?`, `+`, `*`, `{m,n}` and escapes.

use std::collections::BTreeSet;

enum Part {
    /// One character: of these ranges.
    Set(Vec<(char, char)>),
    Group(Vec<Vec<Part>>),
    Repeat(Box<Part>, usize, usize),
    End,
}

/// Whether `pattern`, which begins with `^`, is found in `text`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let rest: Vec<char> = pattern.strip_prefix('^').unwrap().chars().collect();
    let mut place = 0;
    let ways = alternatives(&rest, &mut place);
    assert_eq!(place, rest.len(), "{pattern} is not read to its end");
    let text: Vec<char> = text.chars().collect();
    !ends(&Part::Group(ways), &text, 0).is_empty()
}

fn alternatives(pattern: &[char], place: &mut usize) -> Vec<Vec<Part>> {
    let mut ways = vec![Vec::new()];
    while let Some(character) = pattern.get(*place).copied().filter(|character| *character != ')') {
        *place += 1;
        let part = match character {
            '|' => {
                ways.push(Vec::new());
                continue;
            }
            '$' => Part::End,
            '(' => {
                let inner = alternatives(pattern, place);
                *place += 1;
                Part::Group(inner)
            }
            '[' => set(pattern, place),
            '\\' => {
                *place += 1;
                Part::Set(vec![(pattern[*place - 1], pattern[*place - 1])])
            }
            '?' | '+' | '*' | '{' => {
                let repeated = ways.last_mut().unwrap().pop().unwrap();
                let (least, most) = match character {
                    '?' => (0, 1),
                    '+' => (1, usize::MAX),
                    '*' => (0, usize::MAX),
                    _ => bounds(pattern, place),
                };
                Part::Repeat(Box::new(repeated), least, most)
            }
            '.' => panic!("a dot alone is not known here"),
            plain => Part::Set(vec![(plain, plain)]),
        };
        ways.last_mut().unwrap().push(part);
    }
    ways
}

fn set(pattern: &[char], place: &mut usize) -> Part {
    let mut ranges = Vec::new();
    let negated = pattern[*place] == '^';
    *place += usize::from(negated);
    while pattern[*place] != ']' {
        let from = pattern[*place];
        if pattern[*place + 1] == '-' && pattern[*place + 2] != ']' {
            ranges.push((from, pattern[*place + 2]));
            *place += 3;
        } else {
            ranges.push((from, from));
            *place += 1;
        }
    }
    *place += 1;
    if !negated {
        return Part::Set(ranges);
    }
    let [(one, _)] = ranges[..] else { panic!("only one character is excluded") };
    let before = char::from_u32(u32::from(one) - 1).unwrap();
    let after = char::from_u32(u32::from(one) + 1).unwrap();
    Part::Set(vec![('\0', before), (after, char::MAX)])
}

fn bounds(pattern: &[char], place: &mut usize) -> (usize, usize) {
    let end = *place + pattern[*place..].iter().position(|character| *character == '}').unwrap();
    let inner: String = pattern[*place..end].iter().collect();
    *place = end + 1;
    let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
    (least.parse().unwrap(), most.parse().unwrap())
}

/// Every place where a match that begins at `start` may end.
fn ends(part: &Part, text: &[char], start: usize) -> BTreeSet<usize> {
    match part {
        Part::End => (start == text.len()).then_some(start).into_iter().collect(),
        Part::Set(ranges) => {
            let fits = |character: &char| ranges.iter().any(|(from, to)| (from..=to).contains(&character));
            text.get(start).filter(|character| fits(character)).map(|_| start + 1).into_iter().collect()
        }
        Part::Group(ways) => ways.iter().flat_map(|way| sequence(way, text, start)).collect(),
        Part::Repeat(repeated, least, most) => {
            let mut found = BTreeSet::new();
            let mut reached = BTreeSet::from([start]);
            for count in 0..=(*most).min(text.len() + 1) {
                if count >= *least {
                    found.extend(&reached);
                }
                reached = reached.iter().flat_map(|place| ends(repeated, text, *place)).collect();
            }
            found
        }
    }
}

fn sequence(parts: &[Part], text: &[char], start: usize) -> BTreeSet<usize> {
    let first = BTreeSet::from([start]);
    parts.iter().fold(first, |reached, part| reached.iter().flat_map(|place| ends(part, text, *place)).collect())
}
