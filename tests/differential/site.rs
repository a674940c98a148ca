//! Where the script runs, and what was said there.

use std::net::SocketAddr;

use crate::{
    common::{bench::Encryption, transcript::Transcript},
    script::Section,
};

/// A server, or a proxy before one.
pub(crate) struct Site {
    address: SocketAddr,
    encryption: Encryption,
    kept: Vec<String>,
}

impl Site {
    pub(crate) fn new(address: SocketAddr, encryption: Encryption) -> Self {
        Self { address, encryption, kept: Vec::new() }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Transcript {
        Transcript::connect(self.address, self.encryption)
    }

    /// A new connection that is logged in.
    pub(crate) fn login(&self) -> Transcript {
        Transcript::login(self.address, self.encryption)
    }

    /// Keeps what was said on a connection for the comparison.
    pub(crate) fn keep(&mut self, transcript: &Transcript) {
        self.kept.extend(transcript.messages().iter().map(|message| normalise(message)));
    }

    /// Runs the script.
    pub(crate) fn run(mut self, sections: &[Section]) -> Record {
        let mut run = |(name, section): &Section| {
            section(&mut self);
            (*name, std::mem::take(&mut self.kept))
        };
        Record(sections.iter().map(&mut run).collect())
    }
}

/// What a server said, section by section.
pub(crate) struct Record(Vec<(&'static str, Vec<String>)>);

impl Record {
    /// What came `through` the proxy must be what this server said directly.
    pub(crate) fn assert_same(&self, through: &Self) {
        let sections = self.0.iter().zip(&through.0);
        let differences: Vec<_> = sections
            .filter_map(|((section, direct), (_, through))| {
                first_difference(direct, through).map(|text| format!("{section}, {text}"))
            })
            .collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

fn first_difference(direct: &[String], through: &[String]) -> Option<String> {
    let longer = direct.len().max(through.len());
    let at = (0..longer).find(|at| direct.get(*at) != through.get(*at))?;
    let before = at.checked_sub(1).and_then(|before| direct.get(before));
    Some(format!(
        "message {at}, after {before:?}\n  direct:  {:?}\n  through: {:?}",
        direct.get(at),
        through.get(at)
    ))
}

/// A message without what may differ.
fn normalise(message: &str) -> String {
    let mut message = match message {
        // The proxy collects small literals, and lets the client go on by itself.
        "+ OK\\r\\n" => "+ proxy: Literal accepted by proxy\\r\\n".to_owned(),
        // The proxy edits capability lists; its tests with scripted servers say how.
        list if list.starts_with("* CAPABILITY ") => "* CAPABILITY".to_owned(),
        // With STARTTLS on either side the client gets a greeting of the proxy's.
        greeting if greeting.starts_with("* OK [CAPABILITY ") => "* OK".to_owned(),
        other => other.to_owned(),
    };
    cut(&mut message, "[CAPABILITY ", "]");
    // How long a command took: `(0.001 + 0.000 secs)`.
    cut(&mut message, " (0.", " secs)");
    // Taken from the clock when a mailbox is made.
    for word in ["UIDVALIDITY ", "APPENDUID ", "COPYUID "] {
        cut_digits(&mut message, word);
    }
    message
}

/// Cuts out what stands between `start` and the next `end`.
fn cut(message: &mut String, start: &str, end: &str) {
    if let Some((before, rest)) = message.split_once(start)
        && let Some((_, after)) = rest.split_once(end)
    {
        *message = format!("{before}{start}{end}{after}");
    }
}

/// Cuts out the number behind `word`.
fn cut_digits(message: &mut String, word: &str) {
    if let Some((before, rest)) = message.split_once(word) {
        *message =
            format!("{before}{word}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
}
