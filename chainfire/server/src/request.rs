/// A unique id for a request that came without one, so that its change can be found in logs and in the history. Where
/// the system has no randomness the id is all zeroes; uniqueness is lost then, nothing else.
pub(crate) fn request_id() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
