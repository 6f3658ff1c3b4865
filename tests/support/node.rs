//! The official SDKs for Node, installed once into the cache of those for Python.

use std::{path::PathBuf, process::Command};

use crate::sdk::python;

const PACKAGES: [&str; 3] = ["openai@7.59.0", "@anthropic-ai/sdk@1.14.0", "@google/genai@3.3.0"];

/// The folder that has them; nothing where there is no Node.
pub(crate) fn folder() -> Option<PathBuf> {
    Command::new("node").arg("--version").output().ok()?;
    let folder = python::cache().join("sdk-node-2");
    if !folder.join("ready").exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("package.json"), "{}").unwrap();
        let mut npm = Command::new("npm");
        python::run(npm.args(["install", "--silent", "--no-audit", "--no-fund"]).args(PACKAGES).current_dir(&folder));
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    Some(folder)
}
