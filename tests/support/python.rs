//! Packages of Python that a test needs, installed once into a cache outside the target directory.

use std::{path::PathBuf, process::Command, sync::Mutex};

/// Tests of one binary may want the same environment at once, and the first one makes it.
static MAKING: Mutex<()> = Mutex::new(());

/// Where they are kept.
pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME");
    let cache = cache.map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"), PathBuf::from);
    cache.join("tollgate")
}

pub(crate) fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// The environment of this name, with these packages in it.
pub(crate) fn environment(name: &str, packages: &[&str]) -> PathBuf {
    environment_of("python3", name, packages)
}

/// The same, of a certain Python.
pub(crate) fn environment_of(python: &str, name: &str, packages: &[&str]) -> PathBuf {
    let venv = cache().join(name);
    let _making = MAKING.lock().unwrap();
    if !venv.join("ready").exists() {
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv));
        let mut install = Command::new(venv.join("bin/python"));
        run(install.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]).args(packages));
        std::fs::write(venv.join("ready"), "").unwrap();
    }
    venv
}
