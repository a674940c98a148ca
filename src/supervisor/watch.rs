//! Follows the config file and the files that it names.
//!
//! What is watched are directories: a file that is replaced by a rename, or reached through a
//! symbolic link that is swapped, has another inode afterwards.

use std::{
    collections::HashSet,
    fs, mem,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout_at},
};

use super::input::Input;

/// Changes that come closer together than this are one.
const QUIET: Duration = Duration::from_millis(200);
/// But a file that never comes to rest is looked at after this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Symbolic links on the way to a file, as the kernel counts them (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Watches files and sends [`Input::FilesChanged`].
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    directories: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new(inputs: mpsc::Sender<Input>) -> notify::Result<Self> {
        // One place is enough: an event that waits there stands for all.
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_change = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if is_change && let Err(TrySendError::Closed(())) = sender.try_send(()) {
                tracing::debug!("a file changed after the last look");
            }
        })?;
        tokio::spawn(debounce(events, inputs));
        Ok(Self { watcher, directories: HashSet::new() })
    }

    /// To be called before each look at the files: a directory that was replaced by another of its
    /// name is watched again. So whatever changes after the look began is seen.
    pub(super) fn rearm(&mut self) {
        for directory in mem::take(&mut self.directories) {
            let _ = self.watcher.unwatch(&directory);
            // One that is gone is for the next call of `follow` to replace.
            if self.watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok() {
                self.directories.insert(directory);
            }
        }
    }

    /// Watches these files from now on. To be called after each look at them, since links may lead
    /// elsewhere. Returns whether there are directories that were not watched during that look.
    pub(super) fn follow<'f>(&mut self, files: impl IntoIterator<Item = &'f Path>) -> bool {
        let directories: HashSet<_> = files.into_iter().flat_map(directories_of).collect();
        for gone in self.directories.difference(&directories) {
            // It may be gone from the file system, too.
            let _ = self.watcher.unwatch(gone);
        }
        let mut more = false;
        for new in directories.difference(&self.directories) {
            match self.watcher.watch(new, RecursiveMode::NonRecursive) {
                // One that went away just now has another in its place at the next look.
                Ok(()) | Err(notify::Error { kind: ErrorKind::PathNotFound, .. }) => more = true,
                Err(error) => tracing::warn!(
                    fault = "proxy", %error,
                    "cannot follow changes in {}: reload by SIGHUP, or raise the sysctl fs.inotify.max_user_watches",
                    new.display()
                ),
            }
        }
        self.directories = directories;
        more
    }
}

/// Waits for the end of each burst of events.
async fn debounce(mut events: mpsc::Receiver<()>, inputs: mpsc::Sender<Input>) {
    while events.recv().await.is_some() {
        let latest = Instant::now() + PATIENCE;
        loop {
            let quiet = (Instant::now() + QUIET).min(latest);
            if !matches!(timeout_at(quiet, events.recv()).await, Ok(Some(())))
                || Instant::now() >= latest
            {
                break;
            }
        }
        if inputs.send(Input::FilesChanged).await.is_err() {
            return;
        }
    }
}

/// The directories in which a change can make `file` another: its own, and that of each symbolic
/// link on the way to it. In place of one that is not there, the nearest above it that is.
fn directories_of(file: &Path) -> HashSet<PathBuf> {
    let mut found = HashSet::new();
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for _ in 0..MAX_LINKS {
        match first_link(&path) {
            Some((link, resolved)) => {
                found.extend(existing_parent(&link));
                path = resolved;
            }
            None => break,
        }
    }
    found.extend(existing_parent(&path));
    found
}

/// The first symbolic link on the way, and the path with what it points to in its place.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut so_far = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        if component == Component::ParentDir {
            so_far.pop();
            continue;
        }
        so_far.push(component);
        if let Ok(target) = fs::read_link(&so_far) {
            let resolved =
                so_far.parent().unwrap_or(&so_far).join(target).join(components.as_path());
            return Some((so_far, resolved));
        }
    }
    None
}

fn existing_parent(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|directory| directory.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("archive/v1")).unwrap();
        fs::create_dir(at("live")).unwrap();
        fs::write(at("archive/v1/cert.pem"), "").unwrap();
        symlink("v1", at("archive/current")).unwrap();
        symlink("../archive/current/cert.pem", at("live/cert.pem")).unwrap();
        let expected = |names: &[&str]| names.iter().map(|name| at(name)).collect::<HashSet<_>>();
        assert_eq!(
            directories_of(&at("live/cert.pem")),
            expected(&["live", "archive", "archive/v1"])
        );
        assert_eq!(directories_of(&at("live/none/such.pem")), expected(&["live"]));
        symlink("loop", at("loop")).unwrap();
        assert!(directories_of(&at("loop")).contains(&root));
    }
}
