//! What a writer may have meant.

/// How many of those that are nearest are worth naming.
const NAMED: usize = 3;

/// The nearest of `known`, the best first.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    let mut known: Vec<(usize, &str)> = known.into_iter().map(|known| (distance(name, known), known)).collect();
    known.sort_unstable();
    known.dedup();
    known.into_iter().take(NAMED).map(|(_, known)| known).collect()
}

/// Levenshtein's distance between two short texts.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for ((right, above), corner) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let beside = next.last().copied().unwrap_or_default();
            next.push((corner + usize::from(left != *right)).min(above + 1).min(beside + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let known = ["user/mira", "node/pier2", "user/tomas", "user/timo", "user/tomas"];
        assert_eq!(nearest("user/tomsa", known), ["user/tomas", "user/timo", "user/mira"]);
        assert!(nearest("user/tomsa", []).is_empty());
    }
}
