//! Finding words, not parts of words.

/// Whether `word` occurs in `text` by itself: `TODO:` has the word, `MASTODON` and `my_todo!` do not.
pub(crate) fn occurs(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(place, _)| {
        let before = text.get(..place).and_then(|before| before.chars().next_back());
        let after = text.get(place + word.len()..).and_then(|after| after.chars().next());
        let open_front = word.starts_with(part_of_word) && before.is_some_and(part_of_word);
        let open_end = word.ends_with(part_of_word) && after.is_some_and(part_of_word);
        !open_front && !open_end
    })
}

fn part_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::occurs;

    #[test]
    fn only_whole_words_count() {
        assert!(occurs("// TODO: later", "TODO"));
        assert!(occurs("#[ignore = \"slow\"]", "#[ignore"));
        assert!(occurs("x.todo!()", "todo!"));
        assert!(!occurs("MASTODON", "TODO"));
        assert!(!occurs("my_todo!()", "todo!"));
        assert!(!occurs("let timer = 1;", "time"));
    }
}
