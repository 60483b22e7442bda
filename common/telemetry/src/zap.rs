use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// One flat JSON object a line, with the keys that etcd's lines have: `level`, `ts`, `logger`, `caller`, `msg`, then the
/// fields. The logger is what a filter names.
pub(crate) struct Zap;

impl<S, N> FormatEvent<S, N> for Zap
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(out, r#"{{"level":"{}","ts":""#, level(*metadata.level()))?;
        SystemTime.format_time(&mut out)?;
        let mut line = Line::default();
        event.record(&mut line);
        let [logger, caller, message] = [metadata.target().to_owned(), caller(metadata), line.message].map(Value::from);
        writeln!(out, r#"","logger":{logger},"caller":{caller},"msg":{message}{}}}"#, line.fields)
    }
}

/// etcd has nothing below `debug`.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// File and line, with the folder that the file lies in.
fn caller(metadata: &Metadata<'_>) -> String {
    let Some((file, line)) = metadata.file().zip(metadata.line()) else { return "unknown".to_owned() };
    let short = file.rmatch_indices('/').nth(1).map_or(file, |(at, _)| &file[at + 1..]);
    format!("{short}:{line}")
}

/// What an event says.
#[derive(Default)]
struct Line {
    message: String,
    /// `,"name":value` for each.
    fields: String,
}

impl Line {
    fn add(&mut self, field: &Field, value: &Value) {
        // Writing to a string does not fail.
        let _ = write!(self.fields, ",{}:{value}", Value::from(field.name()));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.add(field, &text.into()) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.add(field, &value.into()) }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_keys_of_etcd_and_its_fields() {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(Zap).with_writer(move || written.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(server = "a\"b", slots = 3, late = true, "a server does not answer");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert!(text.starts_with(r#"{"level":"warn","ts":"20"#) && text.ends_with("}\n"), "{text}");
        assert_eq!(line["msg"], "a server does not answer");
        assert_eq!((&line["server"], &line["slots"], &line["late"]), (&"a\"b".into(), &3.into(), &true.into()));
        assert!(line["caller"].as_str().unwrap().starts_with("src/zap.rs:"), "{line}");
    }
}
