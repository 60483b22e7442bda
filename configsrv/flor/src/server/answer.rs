//! What servers answer, in bounds: whoever answers decides neither how much this node reads nor what a terminal shows.

use reqwest::{Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};

use crate::Error;

/// More than any artifact has.
const LARGEST: usize = 5 << 20;
/// More than any other answer has: receipts, tokens, refusals.
const LARGEST_NOTE: usize = 64 << 10;
/// Characters of a refusal that are shown.
const LONGEST_TEXT: usize = 500;

/// The body of every refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    error: String,
    message: String,
}

/// A success that brings what was published.
pub(super) async fn published(response: Response) -> Result<Vec<u8>, Error> {
    success(response, LARGEST).await
}

/// A success that says something short.
pub(super) async fn note<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    let bytes = success(response, LARGEST_NOTE).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Unreachable(plain(&format!("the answer is not understood: {error}"))))
}

/// A success, whatever it says.
pub(super) async fn done(response: Response) -> Result<(), Error> {
    success(response, LARGEST_NOTE).await.map(|_| ())
}

/// What a refusal says, as far as it is understood.
pub(super) async fn refusal<T: DeserializeOwned + Default>(response: Response) -> T {
    let bytes = read(response, LARGEST_NOTE).await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A refusal in this agent's words.
pub(super) async fn problem(response: Response) -> Error {
    let status = response.status();
    let Problem { error, message } = refusal(response).await;
    let text = if message.is_empty() { format!("the server answered {status}") } else { plain(&message) };
    match (status, error.as_str()) {
        (StatusCode::NOT_FOUND, "unknown_node") => Error::UnknownNode(format!(
            "{text}: nothing is published for this node, or not any more; what runs here stays as it is"
        )),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Error::Untrusted(format!("{status}: {text}")),
        (StatusCode::TOO_MANY_REQUESTS, _) => Error::Unreachable(text),
        _ if status.is_server_error() => Error::Unreachable(text),
        _ => Error::Unexpected(text),
    }
}

pub(super) fn unreachable(url: &str, error: &reqwest::Error) -> Error {
    let mut text = format!("{url}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Error::Unreachable(text)
}

/// Somebody else's words, as one line without what steers a terminal.
pub(super) fn plain(text: &str) -> String {
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(LONGEST_TEXT).map(shown).collect()
}

async fn success(response: Response, most: usize) -> Result<Vec<u8>, Error> {
    if response.status().is_success() { read(response, most).await } else { Err(problem(response).await) }
}

async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, Error> {
    let url = response.url().to_string();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&url, &error))? {
        if bytes.len() + chunk.len() > most {
            return Err(Error::Untrusted(format!("the answer is longer than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> Response {
        http::Response::builder().status(status).body(body.into()).unwrap().into()
    }

    #[tokio::test]
    async fn only_what_was_published_may_be_long() {
        let long = |length: usize| answer(200, " ".repeat(length));
        assert_eq!(published(long(LARGEST)).await.map(|bytes| bytes.len()), Ok(LARGEST));
        assert!(matches!(published(long(LARGEST + 1)).await, Err(Error::Untrusted(_))));
        assert_eq!(done(long(LARGEST_NOTE)).await, Ok(()));
        assert!(matches!(done(long(LARGEST_NOTE + 1)).await, Err(Error::Untrusted(_))));
        assert!(matches!(note::<Value>(long(LARGEST_NOTE + 1)).await, Err(Error::Untrusted(_))));
        // What a refusal says beyond that is nobody's loss.
        let endless = json!({ "message": "x".repeat(LARGEST_NOTE) }).to_string();
        let said = problem(answer(500, endless)).await;
        assert_eq!(said, Error::Unreachable("the server answered 500 Internal Server Error".into()));
    }

    #[tokio::test]
    async fn refusals_do_not_steer_a_terminal() {
        let body = |message: &str| json!({ "error": "x", "message": message }).to_string();
        let said = problem(answer(403, body("no\u{1b}[2J\r\nroot# \u{9b}1m"))).await;
        assert_eq!(said, Error::Untrusted("403 Forbidden: no [2J  root#  1m".into()));
        let said = problem(answer(503, body(&"ö".repeat(LONGEST_TEXT + 1)))).await;
        assert_eq!(said, Error::Unreachable("ö".repeat(LONGEST_TEXT)));
    }
}
