/// A unique id for a request that came without one, so that its change can be found in logs and in the history.
pub(crate) fn request_id() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}
