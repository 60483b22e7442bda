use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tonic::Code;

use crate::wire::code_name;

/// Packages whose services are chainfire's.
const PACKAGES: &[&str] = &["etcdserverpb", "v3lockpb", "v3electionpb", "holdfast.chainfire.v1"];

/// What calls were made and what went over the wire for them, under the names that gRPC servers in Go have.
#[derive(Debug)]
pub(crate) struct Grpc {
    methods: HashMap<String, Arc<Method>>,
    started: Family<Called, Counter>,
    received: Family<Called, Counter>,
    sent: Family<Called, Counter>,
    handled: Family<Handled, Counter>,
    took: Family<Called, Histogram, fn() -> Histogram>,
    bytes_received: Counter,
    bytes_sent: Counter,
}

/// One method with its counts.
#[derive(Debug)]
pub(crate) struct Method {
    called: Called,
    unary: bool,
    started: Counter,
    received: Counter,
    sent: Counter,
    /// The most frequent outcome is not looked up each time.
    ok: Counter,
    /// None before the first call: there are many methods, and each has many buckets.
    took: OnceLock<Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    grpc_method: String,
    grpc_service: String,
    grpc_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    grpc_code: &'static str,
    grpc_method: String,
    grpc_service: String,
    grpc_type: &'static str,
}

impl Default for Grpc {
    /// Of every method, so that a scrape shows zeroes instead of nothing.
    fn default() -> Self {
        let mut grpc = Self {
            methods: HashMap::new(),
            started: Family::default(),
            received: Family::default(),
            sent: Family::default(),
            handled: Family::default(),
            took: Family::new_with_constructor(durations),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
        };
        // The set is part of this binary.
        let files = FileDescriptorSet::decode(holdfast_proto::DESCRIPTORS).unwrap_or_default().file;
        for file in files.iter().filter(|file| PACKAGES.contains(&file.package())) {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    grpc.add(&name, method);
                }
            }
        }
        grpc
    }
}

impl Grpc {
    fn add(&mut self, service: &str, method: &MethodDescriptorProto) {
        let grpc_type = match (method.client_streaming(), method.server_streaming()) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        };
        let called = Called { grpc_method: method.name().to_owned(), grpc_service: service.to_owned(), grpc_type };
        let counts = Method {
            unary: grpc_type == "unary",
            started: self.started.get_or_create_owned(&called),
            received: self.received.get_or_create_owned(&called),
            sent: self.sent.get_or_create_owned(&called),
            ok: self.handled.get_or_create_owned(&called.handled(Code::Ok)),
            took: OnceLock::new(),
            called,
        };
        self.methods.insert(format!("/{service}/{}", method.name()), Arc::new(counts));
    }

    /// The encoder appends `_total` to the names of counters.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("grpc_server_started", "Calls begun", self.started.clone());
        registry.register("grpc_server_handled", "Calls ended, by outcome", self.handled.clone());
        registry.register("grpc_server_handling_seconds", "How long calls took", self.took.clone());
        registry.register("grpc_server_msg_received", "Messages received", self.received.clone());
        registry.register("grpc_server_msg_sent", "Messages sent", self.sent.clone());
        let received = self.bytes_received.clone();
        registry.register("etcd_network_client_grpc_received_bytes", "Bytes received from clients", received);
        let sent = self.bytes_sent.clone();
        registry.register("etcd_network_client_grpc_sent_bytes", "Bytes sent to clients", sent);
    }

    /// The method of a path, if it is one of chainfire's.
    pub(crate) fn method(&self, path: &str) -> Option<Arc<Method>> {
        self.methods.get(path).cloned()
    }

    pub(crate) fn received(&self, method: &Method, bytes: usize, messages: u64) {
        self.bytes_received.inc_by(bytes as u64);
        method.received.inc_by(messages);
    }

    pub(crate) fn sent(&self, method: &Method, bytes: usize, messages: u64) {
        self.bytes_sent.inc_by(bytes as u64);
        method.sent.inc_by(messages);
    }

    pub(crate) fn handled(&self, method: &Method, code: Code, took: Duration) {
        let histogram = method.took.get_or_init(|| self.took.get_or_create_owned(&method.called));
        histogram.observe(took.as_secs_f64());
        match code {
            Code::Ok => method.ok.inc(),
            other => self.handled.get_or_create(&method.called.handled(other)).inc(),
        };
    }
}

/// From five milliseconds to ten seconds, in the steps that gRPC servers in Go have.
fn durations() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl Method {
    pub(crate) fn begin(&self) {
        self.started.inc();
    }

    pub(crate) fn is_unary(&self) -> bool {
        self.unary
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.called.grpc_service, self.called.grpc_method)
    }
}

impl Called {
    fn handled(&self, code: Code) -> Handled {
        Handled {
            grpc_code: code_name(code),
            grpc_method: self.grpc_method.clone(),
            grpc_service: self.grpc_service.clone(),
            grpc_type: self.grpc_type,
        }
    }
}
