use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Uri, uri::PathAndQuery};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

/// A gRPC method with what it takes to put its messages into JSON.
#[derive(Clone)]
pub(super) struct Method {
    pub(super) path: Uri,
    input: MessageDescriptor,
    output: MessageDescriptor,
    pub(super) takes_many: bool,
    pub(super) answers_many: bool,
}

/// Bytes in front of a gRPC message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

/// Numbers of 64 bits are strings, enumerations are words, fields have the names of the .proto and are left out when
/// they are zero or empty.
const OUT: SerializeOptions = SerializeOptions::new().use_proto_field_name(true);
/// Either name of a field is good, and an unknown one is skipped.
const IN: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);

impl Method {
    pub(super) fn find(pool: &DescriptorPool, service: &str, name: &str) -> Option<Self> {
        let method = pool.get_service_by_name(service)?.methods().find(|method| method.name() == name)?;
        let path: PathAndQuery = format!("/{service}/{name}").parse().ok()?;
        Some(Self {
            path: path.into(),
            input: method.input(),
            output: method.output(),
            takes_many: method.is_client_streaming(),
            answers_many: method.is_server_streaming(),
        })
    }

    /// The gRPC message that a request in JSON says; its error is for the client.
    pub(super) fn request(&self, json: &[u8]) -> Result<Bytes, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let message = DynamicMessage::deserialize_with_options(self.input.clone(), &mut reader, &IN)?;
        reader.end()?;
        Ok(framed(&message.encode_to_vec()))
    }

    /// The message of a request without a body.
    pub(super) fn empty_request() -> Bytes {
        framed(&[])
    }

    /// An answer in JSON, between `before` and `after`.
    pub(super) fn answer(&self, message: Bytes, before: &str, after: &str) -> Result<Vec<u8>, String> {
        let message = DynamicMessage::decode(self.output.clone(), message).map_err(|error| error.to_string())?;
        let mut out = before.as_bytes().to_vec();
        let mut writer = serde_json::Serializer::new(&mut out);
        message.serialize_with_options(&mut writer, &OUT).map_err(|error| error.to_string())?;
        out.extend_from_slice(after.as_bytes());
        Ok(out)
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // A message comes from JSON of bounded size.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use holdfast_proto::etcdserverpb::{self as pb, range_request::SortOrder};

    use super::*;

    fn method(service: &str, name: &str) -> Method {
        Method::find(&DescriptorPool::decode(holdfast_proto::DESCRIPTORS).unwrap(), service, name).unwrap()
    }

    fn range(json: &str) -> Result<pb::RangeRequest, String> {
        let frame = method("etcdserverpb.KV", "Range").request(json.as_bytes()).map_err(|error| error.to_string())?;
        Ok(pb::RangeRequest::decode(frame.slice(PREFIX..)).unwrap())
    }

    #[test]
    fn either_name_and_either_kind_of_number_are_good() {
        let wanted = pb::RangeRequest {
            key: "foo".into(),
            range_end: "fop".into(),
            limit: 5,
            sort_order: SortOrder::Descend.into(),
            ..Default::default()
        };
        for json in [
            r#"{"key":"Zm9v","range_end":"Zm9w","limit":5,"sort_order":"DESCEND"}"#,
            r#"{"key":"Zm9v","rangeEnd":"Zm9w","limit":"5","sortOrder":2}"#,
            r#"{"key":"Zm9v","range_end":"Zm9w","limit":"5","sort_order":"DESCEND","of_a_newer_release":[{}]}"#,
        ] {
            assert_eq!(range(json), Ok(wanted.clone()), "{json}");
        }
        assert_eq!(range("{}"), Ok(pb::RangeRequest::default()));
        assert!(range(r#"{"key":"***"}"#).unwrap_err().contains("base64"));
        assert!(range(r#"{"limit":"many"}"#).is_err());
    }

    #[test]
    fn answers_have_the_names_of_the_proto_and_nothing_that_is_unset() {
        let status = pb::StatusResponse {
            header: Some(pb::ResponseHeader { cluster_id: u64::MAX, ..Default::default() }),
            db_size: 5,
            ..Default::default()
        };
        let json = method("etcdserverpb.Maintenance", "Status").answer(status.encode_to_vec().into(), "<", ">");
        assert_eq!(
            String::from_utf8(json.unwrap()).unwrap(),
            r#"<{"header":{"cluster_id":"18446744073709551615"},"dbSize":"5"}>"#
        );
        let grant = pb::LeaseGrantResponse { id: -7, ttl: 60, ..Default::default() };
        let json = method("etcdserverpb.Lease", "LeaseGrant").answer(grant.encode_to_vec().into(), "", "");
        assert_eq!(json.unwrap(), br#"{"ID":"-7","TTL":"60"}"#);
    }
}
