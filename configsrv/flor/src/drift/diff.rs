//! The unified diff of two texts, as `patch` reads it.

use std::fmt::Write as _;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// Texts of which more would have to be compared are shown as replaced altogether.
const MOST_CELLS: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// What turns `old` into `new`; empty if nothing does.
pub(super) fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (lines(old), lines(new));
    let script = script(&old, &new);
    let mut out = String::new();
    for (begin, end) in hunks(&script) {
        if out.is_empty() {
            let _ = writeln!(out, "--- {old_name}\n+++ {new_name}");
        }
        hunk(&mut out, &script, begin, end, &old, &new);
    }
    out
}

/// Each with its end, which the last one may lack.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Edits in the order of the texts.
fn script(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut script = vec![Edit::Keep; same];
    script.extend(middle(old, new));
    script.extend(vec![Edit::Keep; tail]);
    script
}

/// By the longest common subsequence.
fn middle(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let (height, width) = (old.len(), new.len() + 1);
    let whole = || [vec![Edit::Remove; old.len()], vec![Edit::Add; new.len()]].concat();
    if old.is_empty() || new.is_empty() || height.saturating_mul(width) > MOST_CELLS {
        return whole();
    }
    // How much the rests of both texts have in common.
    let mut common = vec![0_u32; (height + 1) * width];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a * width + b] = if old[a] == new[b] {
                common[(a + 1) * width + b + 1] + 1
            } else {
                common[(a + 1) * width + b].max(common[a * width + b + 1])
            };
        }
    }
    let (mut a, mut b, mut edits) = (0, 0, Vec::new());
    while a < old.len() || b < new.len() {
        let edit = if a < old.len() && b < new.len() && old[a] == new[b] {
            Edit::Keep
        } else if b == new.len() || (a < old.len() && common[(a + 1) * width + b] >= common[a * width + b + 1]) {
            Edit::Remove
        } else {
            Edit::Add
        };
        a += usize::from(edit != Edit::Add);
        b += usize::from(edit != Edit::Remove);
        edits.push(edit);
    }
    edits
}

/// Parts of the script with changes in them, and what is around.
fn hunks(script: &[Edit]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (at, _) in script.iter().enumerate().filter(|(_, edit)| **edit != Edit::Keep) {
        let (begin, end) = (at.saturating_sub(CONTEXT), (at + 1 + CONTEXT).min(script.len()));
        match hunks.last_mut() {
            Some(last) if begin <= last.1 => last.1 = end,
            _ => hunks.push((begin, end)),
        }
    }
    hunks
}

fn hunk(out: &mut String, script: &[Edit], begin: usize, end: usize, old: &[&str], new: &[&str]) {
    let count = |edits: &[Edit], without: Edit| edits.iter().filter(|edit| **edit != without).count();
    let (mut a, mut b) = (count(&script[..begin], Edit::Add), count(&script[..begin], Edit::Remove));
    let (removed, added) = (count(&script[begin..end], Edit::Add), count(&script[begin..end], Edit::Remove));
    // A range of no lines is named by the line before it.
    let first = |at: usize, lines: usize| if lines == 0 { at } else { at + 1 };
    let _ = writeln!(out, "@@ -{},{removed} +{},{added} @@", first(a, removed), first(b, added));
    for edit in &script[begin..end] {
        let (mark, line) = match edit {
            Edit::Keep => (' ', old[a]),
            Edit::Remove => ('-', old[a]),
            Edit::Add => ('+', new[b]),
        };
        a += usize::from(*edit != Edit::Add);
        b += usize::from(*edit != Edit::Remove);
        let _ = write!(out, "{mark}{}", plain(line));
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// Whoever changed the file does not steer the terminal of whoever looks.
fn plain(line: &str) -> String {
    let harmless = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let mut out = String::with_capacity(line.len());
    for character in line.chars() {
        if harmless(character) { out.push(character) } else { out.extend(character.escape_default()) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patch_reads() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
        for (new, expected) in [
            (old, ""),
            ("a\nb\nc\nd\ne\nf\ng\nh\ni\nJ", "@@ -7,4 +7,4 @@\n g\n h\n i\n-j\n+J\n\\ No newline at end of file\n"),
            (
                "B\nb\nc\nd\ne\nf\ng\nh\nx\ni\nj\n",
                "@@ -1,4 +1,4 @@\n-a\n+B\n b\n c\n d\n@@ -6,5 +6,6 @@\n f\n g\n h\n+x\n i\n j\n",
            ),
            ("", "@@ -1,10 +0,0 @@\n-a\n-b\n-c\n-d\n-e\n-f\n-g\n-h\n-i\n-j\n"),
        ] {
            let expected = if expected.is_empty() { String::new() } else { format!("--- one\n+++ two\n{expected}") };
            assert_eq!(unified("one", old, "two", new), expected);
        }
        assert_eq!(unified("one", "", "two", "\u{1b}[2Jx\n"), "--- one\n+++ two\n@@ -0,0 +1,1 @@\n+\\u{1b}[2Jx\n");
    }

    /// A script of edits makes one text of the other, whatever they are.
    #[test]
    fn scripts_lead_from_one_text_to_the_other() {
        let mut seed = 7_u32;
        let mut text = || {
            let mut lines = Vec::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                lines.extend((seed >> 30 != 0).then(|| ["a\n", "b\n", "c\n", "d\n"][(seed >> 16) as usize % 4]));
            }
            lines
        };
        for _ in 0..500 {
            let (old, new) = (text(), text());
            let (mut a, mut made) = (old.iter(), Vec::new());
            let mut b = new.iter();
            for edit in script(&old, &new) {
                match edit {
                    Edit::Keep => made.push(*a.next().unwrap()),
                    Edit::Remove => drop(a.next().unwrap()),
                    Edit::Add => made.push(*b.next().unwrap()),
                }
                if edit == Edit::Keep {
                    b.next();
                }
            }
            assert!(made == new && a.next().is_none(), "{old:?} {new:?} {made:?}");
        }
    }
}
