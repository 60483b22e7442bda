use http::Response;
use tonic::{Code, Status, body::Body};

/// A message over the receive limit is refused by the gRPC library before any handler sees it, with a code that means
/// compacted or future revisions to etcd's clients. They know this refusal by another code and text.
pub(super) fn as_clients_know_it(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()).as_ref().and_then(known) {
        Some(status) => status.into_http(),
        None => response,
    }
}

fn known(status: &Status) -> Option<Status> {
    let rest = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, rest) = rest.split_once(" bytes, the limit is: ")?;
    let limit = rest.strip_suffix(" bytes")?;
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    (status.code() == Code::OutOfRange).then(|| Status::resource_exhausted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_refusal_is_changed() {
        let text = "Error, decoded message length too large: found 2097172 bytes, the limit is: 2097152 bytes";
        let status = known(&Status::out_of_range(text)).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (2097172 vs. 2097152)");
        assert!(known(&Status::out_of_range("etcdserver: mvcc: required revision has been compacted")).is_none());
    }
}
