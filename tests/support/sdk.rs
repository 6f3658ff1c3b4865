//! The official SDKs, installed once into a cache outside the target directory.
//!
//! Beside those of OpenAI and Anthropic there are Google's, Amazon's and Cohere's: their types know what requests to those providers look like.

use std::{path::PathBuf, process::Command};

const PACKAGES: [&str; 5] =
    ["openai==2.54.0", "anthropic==2.12.0", "google-genai==3.6.1", "botocore==1.44.8", "cohere==7.3.1"];

/// Where they are kept.
pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME");
    let cache = cache.map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    cache.join("tollgate")
}

pub(crate) fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// A Python that has them.
pub(crate) fn python() -> PathBuf {
    let venv = cache().join("sdk-2");
    if !venv.join("ready").exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        let mut pip = Command::new(venv.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]).args(PACKAGES));
        std::fs::write(venv.join("ready"), "").unwrap();
    }
    venv.join("bin/python")
}
