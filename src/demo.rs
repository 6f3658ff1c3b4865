//! `tollgate demo`: drives the tenants of the default configuration for some seconds.

use std::{path::PathBuf, process::ExitCode};

use crate::load::load;

/// Drive four tenants against a running Tollgate for some seconds; print what each spent, what was refused and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file of the running Tollgate: its addresses, keys and tokens.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match load(&args.config) {
        // The lead drives the tenants here.
        Ok(_) => ExitCode::FAILURE,
        Err(code) => code,
    }
}
