//! The time that a command looks back at: by admission, from an instant on and up to another.
//!
//! A period in which nothing can lie is a mistake of who wrote it and never an empty report.

use std::process::ExitCode;

use schemas::time::Time;

use crate::EXIT_USAGE;

/// From when to when.
#[derive(clap::Args)]
pub(crate) struct Period {
    /// From when on, by admission: a day (UTC) such as 2026-11-01, or an instant such as 2026-11-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    from: Option<Time>,
    /// Up to when, exclusive.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    to: Option<Time>,
}

impl Period {
    /// Says so and gives the exit code if nothing can lie in it.
    pub(crate) fn check(&self) -> Result<(), ExitCode> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                eprintln!("error: `--from` {from} is not before `--to` {to}, so nothing lies between them");
                Err(ExitCode::from(EXIT_USAGE))
            }
            _ => Ok(()),
        }
    }

    /// Its first instant.
    pub(crate) fn from(&self) -> Time {
        self.from.unwrap_or(Time::ZERO)
    }

    /// The first instant after it.
    pub(crate) fn to(&self) -> Time {
        self.to.unwrap_or(Time::MAX)
    }
}
