//! Follows the config file and the files that it names.
//!
//! What is watched are directories: a file that is replaced by a rename, or reached through a
//! symbolic link that is swapped, has another inode afterwards. Of their entries, only those count
//! that lead to a file.

use std::{
    collections::HashSet,
    fs, mem,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
    entries: Arc<Entries>,
}

/// Whatever, when it changes, can make a file another one.
#[derive(Default)]
struct Entries(Mutex<HashSet<PathBuf>>);

impl Entries {
    /// Whether an event is about one of them, or may be.
    fn concern(&self, event: &notify::Result<Event>) -> bool {
        let Ok(event) = event else { return true };
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(event.kind, EventKind::Access(_))
            && (event.need_rescan()
                || event.paths.is_empty()
                || event.paths.iter().any(|path| entries.contains(path)))
    }

    /// Puts others in their place. Returns whether there are new ones.
    fn replace(&self, entries: HashSet<PathBuf>) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = !entries.is_subset(&held);
        *held = entries;
        more
    }
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new(inputs: mpsc::Sender<Input>) -> notify::Result<Self> {
        // One place is enough: an event that waits there stands for all.
        let (sender, events) = mpsc::channel(1);
        let entries = Arc::new(Entries::default());
        let counting = Arc::clone(&entries);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if counting.concern(&event)
                && let Err(TrySendError::Closed(())) = sender.try_send(())
            {
                tracing::debug!("a file changed after the last look");
            }
        })?;
        tokio::spawn(debounce(events, inputs));
        Ok(Self { watcher, directories: HashSet::new(), entries })
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
    /// elsewhere. Returns whether there is anything that was not watched during that look.
    pub(super) fn follow<'f>(&mut self, files: impl IntoIterator<Item = &'f Path>) -> bool {
        let mut entries: HashSet<_> = files.into_iter().flat_map(entries_of).collect();
        let directories: HashSet<_> =
            entries.iter().filter_map(|entry| entry.parent()).map(Path::to_owned).collect();
        entries.extend(directories.iter().cloned());
        let mut more = self.entries.replace(entries);
        for gone in self.directories.difference(&directories) {
            // It may be gone from the file system, too.
            let _ = self.watcher.unwatch(gone);
        }
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

/// The directory entries on which it depends what `file` is: its own, and that of each symbolic link
/// on the way to it. In place of one in a directory that is not there, the first that is missing.
fn entries_of(file: &Path) -> HashSet<PathBuf> {
    let mut found = HashSet::new();
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for _ in 0..MAX_LINKS {
        match first_link(&path) {
            Some((link, resolved)) => {
                found.insert(link);
                path = resolved;
            }
            None => break,
        }
    }
    let in_a_directory = |path: &&Path| path.parent().is_some_and(Path::is_dir);
    found.extend(path.ancestors().find(in_a_directory).map(Path::to_owned));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn entries_on_the_way() {
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
            entries_of(&at("live/cert.pem")),
            expected(&["live/cert.pem", "archive/current", "archive/v1/cert.pem"])
        );
        assert_eq!(entries_of(&at("live/none/such.pem")), expected(&["live/none"]));
        symlink("loop", at("loop")).unwrap();
        assert_eq!(entries_of(&at("loop")), expected(&["loop"]));
    }

    #[test]
    fn only_what_leads_to_a_file_counts() {
        let entries = Entries::default();
        assert!(entries.replace(["/etc", "/etc/config.toml"].map(PathBuf::from).into()));
        assert!(!entries.replace(["/etc/config.toml"].map(PathBuf::from).into()));
        let event = |kind: EventKind, path: &str| Ok(Event::new(kind).add_path(path.into()));
        let modified = EventKind::Modify(notify::event::ModifyKind::Any);
        assert!(entries.concern(&event(modified, "/etc/config.toml")));
        assert!(entries.concern(&Ok(Event::new(EventKind::Other))));
        assert!(entries.concern(&Err(notify::Error::generic("overflow"))));
        assert!(!entries.concern(&event(modified, "/etc/imap-proxy.log")));
        let read = EventKind::Access(notify::event::AccessKind::Any);
        assert!(!entries.concern(&event(read, "/etc/config.toml")));
    }
}
