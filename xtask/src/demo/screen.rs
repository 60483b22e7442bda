//! What the demo shows: numbered steps, the commands that a person would type, waiting, tables.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Standard output, plain when it is not a terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    colour: bool,
    step: usize,
    begun: Instant,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Cyan,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, step: 0, begun: Instant::now() }
    }

    /// The heading of the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}", self.styled(Style::Bold, &format!("{:>2}  {title}", self.step)));
    }

    /// A command as a person would type it.
    pub(crate) fn command(&self, line: &str) {
        println!("    {} {}", self.styled(Style::Dim, "$"), self.styled(Style::Cyan, line));
    }

    /// What a command answered: the first lines, the rest counted.
    pub(crate) fn answer(&self, text: &str) {
        const MOST: usize = 14;
        let lines: Vec<_> = text.trim_end().lines().collect();
        for line in lines.iter().take(MOST) {
            println!("      {}", self.styled(Style::Dim, line));
        }
        if lines.len() > MOST {
            println!("      {}", self.styled(Style::Dim, &format!("… {} more lines", lines.len() - MOST)));
        }
    }

    /// What was found to be true.
    pub(crate) fn fact(&self, text: &str) {
        println!("    {} {text}", self.styled(Style::Green, "✓"));
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        println!("    {text}");
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Two columns.
    pub(crate) fn table(&self, rows: &[(String, String)]) {
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in rows {
            println!("    {name:<width$}  {}", self.styled(Style::Cyan, value));
        }
    }

    /// Looks at a condition until it gives a value, behind a spinner that counts the seconds.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let spinner = ProgressBar::new_spinner();
        spinner.set_draw_target(ProgressDrawTarget::stdout());
        spinner.set_style(ProgressStyle::with_template("    {spinner} {msg} {elapsed}")?);
        spinner.set_message(format!("waiting for {what}"));
        let begun = Instant::now();
        let outcome = loop {
            match condition() {
                Ok(Some(value)) => break Ok(value),
                Err(error) => break Err(error.context(format!("while waiting for {what}"))),
                Ok(None) if begun.elapsed() >= timeout => {
                    break Err(anyhow::anyhow!("waited {:.0} s in vain for {what}", timeout.as_secs_f64()));
                }
                Ok(None) => {}
            }
            spinner.tick();
            std::thread::sleep(EVERY);
        };
        spinner.finish_and_clear();
        outcome
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Cyan => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// An error unless a claim that the demo makes is true.
pub(crate) fn ensure(holds: bool, claim: &str) -> Result<()> {
    if holds { Ok(()) } else { bail!("it is not so that {claim}") }
}
