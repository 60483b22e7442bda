use crate::MemberId;

/// What checksums of the same data tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All that answered hold the same.
    Agree,
    /// A majority holds the same, and these do not.
    Differ(Vec<MemberId>),
    /// All have answered, and nobody can tell who is right.
    Undecided,
    /// They differ, and who is right depends on members that have not answered.
    Wait,
}

/// Judges the checksums of a cluster of `members`.
pub(super) fn judge<T: PartialEq>(members: usize, sums: &[(MemberId, T)]) -> Verdict {
    let alike = |sum: &T| sums.iter().filter(|(_, other)| other == sum).count();
    if sums.first().is_none_or(|(_, first)| alike(first) == sums.len()) {
        return Verdict::Agree;
    }
    match sums.iter().find(|(_, sum)| alike(sum) > members / 2) {
        Some((_, right)) => {
            Verdict::Differ(sums.iter().filter(|(_, sum)| sum != right).map(|(member, _)| *member).collect())
        }
        None if sums.len() == members => Verdict::Undecided,
        None => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    #[test]
    fn the_minority_is_wrong_whoever_asks() {
        assert_eq!(judge(3, &[(A, 7), (B, 7), (C, 7)]), Verdict::Agree);
        assert_eq!(judge(3, &[(A, 7), (B, 7), (C, 8)]), Verdict::Differ(vec![C]));
        assert_eq!(judge(3, &[(A, 8), (B, 7), (C, 7)]), Verdict::Differ(vec![A]));
    }

    #[test]
    fn without_a_majority_nobody_is_accused() {
        assert_eq!(judge(3, &[(A, 7), (B, 8)]), Verdict::Wait);
        assert_eq!(judge(3, &[(A, 7), (B, 8), (C, 9)]), Verdict::Undecided);
        assert_eq!(judge(2, &[(A, 7), (B, 8)]), Verdict::Undecided);
        assert_eq!(judge(3, &[(A, 7)]), Verdict::Agree);
        assert_eq!(judge::<u32>(1, &[]), Verdict::Agree);
    }
}
