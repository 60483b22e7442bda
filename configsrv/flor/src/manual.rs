//! What shells and `man` know of this program.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{Error, cli::Cli, screen::print};

pub(crate) fn completions(shell: Shell) -> Result<(), Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "flor", &mut text);
    print(&text)
}

/// One page, or a folder with one for every command.
pub(crate) fn pages(folder: Option<&Path>) -> Result<(), Error> {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut text);
        rendered.map_err(|error| Error::Unexpected(error.to_string()))?;
        return print(&text);
    };
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| Error::file(folder, &error))
}
