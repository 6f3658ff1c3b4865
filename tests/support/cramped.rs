//! A small disk: a tmpfs in a mount namespace of its own, which is gone with the test, however that ends.
//!
//! It is reached through `/proc`, so that processes outside of the namespace use it like any directory, and when it is full the kernel
//! says so. It takes what `mount` takes: root, or user namespaces.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub(crate) struct Cramped {
    /// Keeps the namespace alive until its input ends.
    holder: Child,
    dir: PathBuf,
}

impl Cramped {
    /// A disk of so many MiB, with `dir` as its place in the namespace.
    pub(crate) fn new(dir: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m tollgate '{}' && echo mounted && read -r _", dir.display());
        let mounted = [&["--mount"][..], &["--map-root-user", "--mount"]].iter().find_map(|flags| {
            let mut unshare = Command::new("unshare");
            unshare.args(*flags).args(["sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut holder = unshare.spawn().unwrap();
            let mut said = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
            (said == "mounted\n").then_some(holder)
        });
        let holder = mounted.expect("a tmpfs can be mounted here: as root, or with user namespaces");
        let dir = PathBuf::from(format!("/proc/{}/root{}", holder.id(), dir.display()));
        Self { holder, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes all room that there is.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.dir.join("filler")).unwrap();
        let chunk = vec![1; 1 << 20];
        let error = loop {
            if let Err(error) = file.write(&chunk) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.dir.join("filler")).unwrap();
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
