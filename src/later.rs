//! The commands of the contract that a build without the lake does not have. They say so, rather than be unknown.

use std::process::ExitCode;

use clap::Subcommand;
use schemas::error_code::ErrorCode;

use crate::EXIT_USAGE;

/// Commands that need the feature `query`; hidden from the help, since they cannot help.
#[derive(Subcommand)]
pub(crate) enum Later {
    /// Write FOCUS or plain Parquet.
    #[command(hide = true, disable_help_flag = true)]
    Export(Rest),
    /// Run a documented report.
    #[command(hide = true, disable_help_flag = true)]
    Report(Rest),
    /// Bring a table in.
    #[command(hide = true, disable_help_flag = true)]
    Import(Rest),
    /// Compare with a provider's own numbers.
    #[command(hide = true, disable_help_flag = true)]
    Reconcile(Rest),
}

/// Whatever follows.
#[derive(clap::Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

pub(crate) fn run(later: &Later) -> ExitCode {
    let name = match later {
        Later::Export(_) => "export",
        Later::Report(_) => "report",
        Later::Import(_) => "import",
        Later::Reconcile(_) => "reconcile",
    };
    eprintln!(
        "error: {}: `tollgate {name}` is not part of this build; the feature `query` has it",
        ErrorCode::NotBuilt
    );
    ExitCode::from(EXIT_USAGE)
}
