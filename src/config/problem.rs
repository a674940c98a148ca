//! What is wrong with a config file, and where.

use std::{
    cell::RefCell,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// All that is wrong with a config file, in its order; at least one. Displayed one per line, as
/// `FILE:LINE:COLUMN: what is wrong; what would be right`. Columns count characters from 1.
#[derive(Debug, Error)]
pub struct Problems {
    lines: Vec<String>,
    files: Vec<PathBuf>,
    may_pass: bool,
}

impl Problems {
    /// A file that could not even be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let line = format!("{}: cannot be read: {error}", path.display());
        Self { lines: vec![line], files: Vec::new(), may_pass: false }
    }

    /// The files that the config names: with one of them the problem may be mended.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether all that is wrong is with files of certificates and keys. While they are renewed
    /// that is so for a moment: one of a pair is new, the other is not yet.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// Proof that a problem was reported, so that no failure goes without a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// Collects problems while a file is read.
pub(super) struct Reports<'t> {
    text: &'t str,
    list: RefCell<Vec<Report>>,
    files: RefCell<Vec<PathBuf>>,
}

struct Report {
    kind: Kind,
    offset: usize,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syntax,
    Missing,
    Wrong,
    /// With a file that the config names.
    File,
}

impl<'t> Reports<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, list: RefCell::default(), files: RefCell::default() }
    }

    /// The text is no TOML here.
    pub(super) fn syntax(&self, at: &Range<usize>, message: impl fmt::Display) -> Reported {
        self.add(Kind::Syntax, at, message)
    }

    /// The table here lacks something.
    pub(super) fn missing(&self, at: &Range<usize>, message: impl fmt::Display) -> Reported {
        self.add(Kind::Missing, at, message)
    }

    /// Something here is not as it must be.
    pub(super) fn wrong(&self, at: &Range<usize>, message: impl fmt::Display) -> Reported {
        self.add(Kind::Wrong, at, message)
    }

    /// The config names this file.
    pub(super) fn names(&self, file: &Path) {
        self.files.borrow_mut().push(file.to_owned());
    }

    /// Something is wrong with a file that is named here.
    pub(super) fn file(&self, at: &Range<usize>, message: impl fmt::Display) -> Reported {
        self.add(Kind::File, at, message)
    }

    /// The line of a place in the text, from 1.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        self.position(at.start).0
    }

    /// `result`, unless anything was reported.
    pub(super) fn finish<T>(self, path: &Path, result: Result<T, Reported>) -> Result<T, Problems> {
        let lines = self.render(path);
        match result {
            Ok(value) if lines.is_empty() => Ok(value),
            _ => {
                let may_pass = self.list.borrow().iter().all(|report| report.kind == Kind::File);
                Err(Problems { lines, files: self.files.into_inner(), may_pass })
            }
        }
    }

    fn add(&self, kind: Kind, at: &Range<usize>, message: impl fmt::Display) -> Reported {
        // A quoted value must not be able to break the line or to steer a terminal.
        let mut clean = String::new();
        for c in message.to_string().chars() {
            if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
        }
        self.list.borrow_mut().push(Report { kind, offset: at.start, message: clean });
        Reported(())
    }

    fn render(&self, path: &Path) -> Vec<String> {
        let mut list = self.list.borrow_mut();
        list.sort_by_key(|report| report.offset);
        let broken: Vec<_> = list
            .iter()
            .filter(|report| report.kind == Kind::Syntax)
            .map(|report| self.position(report.offset).0)
            .collect();
        let mut lines: Vec<_> = list
            .iter()
            .map(|report| (report, self.position(report.offset)))
            // Around a syntax error the rest is guesswork: what seems wrong in its line, or seems
            // missing, may be no more than its echo.
            .filter(|(report, (line, _))| match report.kind {
                Kind::Syntax => true,
                Kind::Missing => broken.is_empty(),
                Kind::Wrong | Kind::File => !broken.contains(line),
            })
            .map(|(report, (line, column))| {
                format!("{}:{line}:{column}: {}", path.display(), report.message)
            })
            .collect();
        lines.dedup();
        lines
    }

    /// Line and column, both from 1; the column in characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(reports: Reports<'_>) -> String {
        reports.finish(Path::new("f"), Ok(())).unwrap_err().to_string()
    }

    #[test]
    fn columns_count_characters_and_lines_come_in_order() {
        let text = "a = 'é'x\r\nb";
        let reports = Reports::new(text);
        reports.wrong(&(11..12), "second");
        reports.wrong(&(8..9), "first");
        reports.wrong(&(99..99), "beyond the end");
        assert_eq!(rendered(reports), "f:1:8: first\nf:2:1: second\nf:2:2: beyond the end");
    }

    #[test]
    fn a_syntax_error_silences_its_echoes() {
        let reports = Reports::new("one\ntwo\n");
        reports.syntax(&(0..1), "no TOML");
        reports.syntax(&(0..1), "no TOML");
        reports.wrong(&(2..3), "echo");
        reports.missing(&(4..5), "echo");
        reports.wrong(&(4..5), "another");
        assert_eq!(rendered(reports), "f:1:1: no TOML\nf:2:1: another");
    }

    #[test]
    fn control_characters_are_escaped() {
        let reports = Reports::new("");
        reports.wrong(&(0..0), "a\u{1b}[31m\nb");
        assert_eq!(rendered(reports), "f:1:1: a\\u{1b}[31m\\nb");
    }

    #[test]
    fn nothing_reported_is_fine() {
        assert_eq!(Reports::new("").finish(Path::new("f"), Ok(1)).unwrap(), 1);
    }
}
