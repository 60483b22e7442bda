use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::LoggingError;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    /// Appended to. A file that is moved away is written on; what rotates it has to copy and truncate.
    File(PathBuf),
}

/// Open outputs, each of which gets every line. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Outputs(Arc<[Open]>);

#[derive(Debug)]
enum Open {
    Stderr,
    Stdout,
    File(File),
}

impl Outputs {
    pub(crate) fn open(outputs: &[Output]) -> Result<Self, LoggingError> {
        let open = |output: &Output| match output {
            Output::Stderr => Ok(Open::Stderr),
            Output::Stdout => Ok(Open::Stdout),
            Output::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                opened
                    .map(Open::File)
                    .map_err(|error| LoggingError::File { path: path.clone(), reason: error.to_string() })
            }
        };
        outputs.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a person reads all of them.
    pub(crate) fn are_terminals(&self) -> bool {
        self.0.iter().all(|output| match output {
            Open::Stderr => io::stderr().is_terminal(),
            Open::Stdout => io::stdout().is_terminal(),
            Open::File(_) => false,
        })
    }
}

/// One that fails does not keep lines from the others.
impl Write for &Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in self.0.iter() {
            let _ = match output {
                Open::Stderr => io::stderr().write_all(line),
                Open::Stdout => io::stdout().write_all(line),
                Open::File(file) => (&*file).write_all(line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_gets_every_line_and_files_keep_what_they_have() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, "before\n").unwrap();
        let outputs = Outputs::open(&[Output::File(one.clone()), Output::File(other.clone())]).unwrap();
        outputs.make_writer().write_all(b"line\n").unwrap();
        assert!(!outputs.are_terminals());
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(one), read(other)), ("before\nline\n".to_owned(), "line\n".to_owned()));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Outputs::open(&[Output::Stderr, Output::File("/nowhere/log".into())]).unwrap_err();
        assert!(error.to_string().starts_with("the log file /nowhere/log: "), "{error}");
    }
}
