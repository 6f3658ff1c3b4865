//! `tollgate up`: the roles, in one process.

use std::{path::PathBuf, process::ExitCode};

use schemas::{config::Log, error_code::ErrorCode};

use crate::{EXIT_USAGE, load::load};

/// Start Tollgate: every role in this process, or those named.
///
/// Stops on SIGTERM or Ctrl-C: no new calls, open streams end or are settled at the deadline, the log is brought up to date.
/// Exits with 0; with 64 if the configuration is wrong; with 75 if events had to stay in the journal.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
    /// The roles, separated by commas. Without Kafka it is all of them.
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub(crate) roles: Vec<Role>,
}

/// A part of Tollgate that can run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Passes calls.
    Gateway,
    /// Keeps the books.
    Metering,
    /// Writes the tables.
    Lake,
    /// Answers questions.
    Query,
}

impl Role {
    const ALL: [Self; 4] = [Self::Gateway, Self::Metering, Self::Lake, Self::Query];
}

impl Default for Args {
    fn default() -> Self {
        Self { config: "tollgate.yaml".into(), roles: Vec::new() }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let every = args.roles.is_empty() || Role::ALL.iter().all(|role| args.roles.contains(role));
    if !every && matches!(loaded.config.log, Log::Disk { .. }) {
        let code = ErrorCode::RolesNeedKafka;
        eprintln!("error: {code}: a log of kind disk has one process with every role; leave --roles out, or use kafka");
        return ExitCode::from(EXIT_USAGE);
    }
    eprintln!("error: this build has no roles yet");
    ExitCode::FAILURE
}
