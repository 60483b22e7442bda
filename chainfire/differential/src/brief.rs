/// So many of one character are shown as their number.
const RUN: usize = 20;

/// `text` with every long run of one character cut short: large values are made of such.
pub(crate) fn brief(text: &str) -> String {
    let mut brief = String::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let mut times = 1;
        while rest.next_if_eq(&first).is_some() {
            times += 1;
        }
        if times < RUN {
            brief.extend(std::iter::repeat_n(first, times));
        } else {
            brief.push_str(&format!("{first}×{times}"));
        }
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_counted() {
        assert_eq!(brief("aab"), "aab");
        assert_eq!(brief(&format!("k: {}.", "v".repeat(66_000))), "k: v×66000.");
    }
}
