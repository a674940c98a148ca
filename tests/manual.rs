//! The manual pages and the README name what there is: no less, and no more.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]
#![allow(clippy::panic, reason = "a test that panics is a test that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

use imap_proxy::config::{self, Config};
use rcgen::CertifiedKey;
use tempfile::TempDir;
use toml::{Table, Value};

const PROGRAM: &str = include_str!("../man/imap-proxy.8");
const CONFIG: &str = include_str!("../man/imap-proxy.toml.5");
const README: &str = include_str!("../README.md");

/// Services with no more than they need.
const INSECURE: &str = "
[[services]]
name = 'x'
bind = { encryption = 'Insecure', host = '::1' }
connect = { encryption = 'Insecure', host = '::1' }
";
const TLS: &str = "
[[services]]
name = 'x'
connect = { encryption = 'Tls', host = '::1' }
[services.bind]
encryption = 'Tls'
host = '::1'
[services.bind.identity]
type = 'CertificateChainAndLeafKey'
certificate_chain_path = 'certificate.pem'
leaf_key_path = 'key.pem'
";

#[test]
fn every_config_key_has_its_place_in_the_page() {
    let mut known = BTreeMap::new();
    assert!(gather_known_keys(&Probe::top_level(), &mut known));
    let documented = documented_keys();

    let names = |keys: &BTreeMap<String, _>| keys.keys().cloned().collect::<BTreeSet<_>>();
    let known_names = known.keys().cloned().collect();
    assert_eq!(names(&documented), known_names, "left: the page, right: the code");
    for (key, head) in documented {
        if let Some(head) = head {
            assert_eq!(head == Head::Required, known[&key], "whether {key} is required");
        }
    }
}

#[test]
fn defaults_in_the_page_are_the_codes() {
    let shipped = include_str!("../config.toml");
    let mut defaults = 0;
    for (key, head) in documented_keys() {
        match head {
            Some(Head::Defaults(values)) => {
                let is_default = |service: &str, value: &str| {
                    let mut changed: Table = service.parse().unwrap();
                    set(&mut changed, &key, value);
                    load(service).unwrap() == load(&changed.to_string()).unwrap()
                };
                // A default may depend on the encryption; then there are as many as encryptions.
                for service in [INSECURE, TLS] {
                    assert!(values.iter().any(|v| is_default(service, v)), "{key}: {values:?}");
                }
                for value in &values {
                    assert!(
                        is_default(INSECURE, value) || is_default(TLS, value),
                        "{key}: {value}"
                    );
                }
                defaults += 1;
            }
            Some(Head::NoDefault) => {
                let name = key.rsplit('.').next().unwrap();
                let (before, _) = shipped.split_once(&format!("\n# {name} = ")).unwrap();
                let comment = before.lines().next_back().unwrap();
                assert!(comment.contains("Not set by default"), "{key} in the shipped config");
            }
            Some(Head::Required) | None => {}
        }
    }
    assert!(defaults > 0);
}

#[test]
fn every_command_and_option_has_its_place_in_the_page() {
    let mut documented = BTreeSet::new();
    let mut command = "";
    for line in PROGRAM.lines() {
        if line.starts_with(".S") {
            command = "";
        } else if let Some(item) = line.strip_prefix(".It Cm ") {
            command = item.split(' ').next().unwrap();
            documented.insert(command.to_owned());
        } else if line.starts_with(".It Fl ") {
            documented.extend(after("Fl", line).map(|option| format!("{command} -{option}")));
        }
    }

    let help = help_of(&["-h"]);
    let of_all: BTreeSet<_> = options(&help).collect();
    let mut known: BTreeSet<_> = of_all.iter().map(|option| format!(" {option}")).collect();
    for command in commands(&help) {
        let help = help_of(&["help", command]);
        let own = options(&help).filter(|option| !of_all.contains(option));
        known.extend(own.map(|option| format!("{command} {option}")));
        known.insert(command.to_owned());
    }
    assert_eq!(documented, known, "left: the page, right: the program");
}

#[test]
fn every_exit_code_has_its_place_in_the_page() {
    let (_, section) = PROGRAM.split_once(".Sh EXIT STATUS\n").unwrap();
    let (section, _) = section.split_once("\n.El\n").unwrap();
    let documented: Vec<_> = section.lines().filter_map(|l| l.strip_prefix(".It ")).collect();
    let known: Vec<_> = include_str!("../src/exit.rs")
        .lines()
        .filter_map(|line| line.strip_suffix(',')?.split_once(" = ").map(|(_, code)| code))
        .collect();
    assert_eq!(documented, known, "left: the page, right: the code");
}

#[test]
fn every_field_of_the_journal_has_its_place_in_the_page() {
    let of_lines = include_str!("../src/trace/record.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => Self::"))
        .map(|(name, _)| format!("IMAP_{}", name.to_uppercase()));
    let of_messages = include_str!("../src/trace/journal.rs")
        .split('"')
        .filter(|text| text.starts_with("IMAP_"))
        .map(str::to_owned);
    let known: BTreeSet<_> = of_lines.chain(of_messages).collect();
    let listed: BTreeSet<_> =
        PROGRAM.lines().filter_map(|line| line.strip_prefix(".It Dv IMAP_")).collect();
    let listed = listed.iter().map(|name| format!("IMAP_{name}")).collect();
    assert_eq!(known, listed, "left: the code, right: the page");

    for text in [PROGRAM, CONFIG, README] {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        for field in words.filter(|word| word.starts_with("IMAP_")) {
            assert!(known.contains(field), "{field} is no field");
        }
    }
}

#[test]
fn every_config_in_the_pages_and_the_readme_is_valid() {
    let pages = blocks(&[PROGRAM, CONFIG].concat(), ".Bd -literal", ".Ed");
    let pages = pages.into_iter().filter(|block| block.contains("[[services]]")).collect();
    for examples in [pages, blocks(README, "```toml", "```")] {
        assert!(!examples.is_empty());
        for example in examples {
            // The folder stands for the one where the files are after installation.
            let mut config = example.replace("\"/etc/imap-proxy/", "\"");
            if !config.contains("[[services]]") {
                config.push_str(INSECURE);
            }
            let folder = folder(&config);
            let output = imap_proxy(folder.path(), &["check", "--config", "config.toml"]);
            let problems = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{config}\n{problems}");
        }
    }
}

#[test]
fn the_pages_are_clean_mdoc() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["man/imap-proxy.8", "man/imap-proxy.toml.5"] {
        let lint = Command::new("mandoc").args(["-T", "lint", page]).current_dir(root).output();
        let lint = match lint {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("not checked: mandoc is not installed");
                return;
            }
            lint => String::from_utf8(lint.unwrap().stdout).unwrap(),
        };
        // Which other pages are there is a matter of this machine.
        let complaints = lint.lines().filter(|line| !line.contains("referenced manual not found"));
        assert_eq!(complaints.collect::<Vec<_>>().join("\n"), "");
    }
    for line in [PROGRAM, CONFIG].iter().flat_map(|page| page.lines()) {
        if let Some(page) = line.strip_prefix(".Xr imap-proxy") {
            let (name, section) = page.split_once(' ').unwrap();
            let file = format!("man/imap-proxy{name}.{}", section.split(' ').next().unwrap());
            assert!(root.join(&file).exists(), "{file}");
        }
    }
}

/// What stands beside a key in the page.
#[derive(Debug, PartialEq)]
enum Head {
    Required,
    NoDefault,
    /// In TOML; more than one where it depends on the encryption.
    Defaults(Vec<String>),
}

/// The tables and keys that the page names, by their full names. A table has no head.
fn documented_keys() -> BTreeMap<String, Option<Head>> {
    let mut keys = BTreeMap::new();
    let mut tables: Vec<&str> = Vec::new();
    for line in CONFIG.lines() {
        if line.starts_with(".S") {
            let words = line.split(' ').filter(|word| word.starts_with('['));
            tables = words.map(|word| word.trim_matches(['[', ']'])).collect();
            keys.extend(tables.iter().map(|table| ((*table).to_owned(), None)));
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            let (key, item) = item.split_once(" No = Ar ").unwrap();
            assert!(!tables.is_empty(), "{key} is in no table");
            for table in &tables {
                let before = keys.insert(format!("{table}.{key}"), Some(head(item)));
                assert_eq!(before, None, "{table}.{key} is there already");
            }
        }
    }
    keys
}

/// `duration Pq default Cm "10s"` and the like.
fn head(item: &str) -> Head {
    match item.split_once(' ').unwrap().1 {
        "Pq required" => Head::Required,
        "Pq no default" => Head::NoDefault,
        defaults => {
            let values = after("Cm", defaults).map(|value| value.replace("\\(dq", "\"")).collect();
            assert!(defaults.contains(" default Cm "), "{item}");
            Head::Defaults(values)
        }
    }
}

/// The words that follow a macro in a line of mdoc.
fn after<'t>(name: &str, line: &'t str) -> impl Iterator<Item = &'t str> {
    let pairs = line.split(' ').zip(line.split(' ').skip(1));
    pairs.filter_map(move |(word, next)| (word == name).then_some(next))
}

/// A config with a hole in one of its tables.
struct Probe {
    table: String,
    before: String,
    after: String,
}

impl Probe {
    fn top_level() -> Self {
        Self { table: String::new(), before: String::new(), after: String::new() }
    }

    /// The same for a key of the table, if that is a table or an array of tables.
    fn into(&self, key: &str) -> [Self; 2] {
        [("{", "}"), ("[{", "}]")].map(|(open, close)| Self {
            table: self.name_of(key),
            before: format!("{}{key} = {open}", self.before),
            after: format!("{close}{}", self.after),
        })
    }

    fn name_of(&self, key: &str) -> String {
        if self.table.is_empty() { key.to_owned() } else { format!("{}.{key}", self.table) }
    }
}

/// Collects the full names of all keys in the table and below, and whether they are required, from
/// what the code says about a key that it cannot know. Returns whether there is such a table.
fn gather_known_keys(probe: &Probe, known: &mut BTreeMap<String, bool>) -> bool {
    let problems = load(&format!("{}'?' = 0{}", probe.before, probe.after)).unwrap_err();
    let Some((_, keys)) = problems.split_once("unknown key `?`; expected `") else { return false };
    let (keys, _) = keys.split_once("`\n").or(keys.strip_suffix('`').map(|k| (k, ""))).unwrap();
    for key in keys.split("`, `") {
        let missing = format!(":1:{}: missing key `{key}`", probe.before.len().max(1));
        known.insert(probe.name_of(key), problems.contains(&missing));
        assert!(probe.into(key).iter().filter(|probe| gather_known_keys(probe, known)).count() < 2);
    }
    true
}

/// Sets a key, given by its full name, in a config with one service.
fn set(config: &mut Table, key: &str, value: &str) {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    if rest.is_empty() {
        let value: Table = format!("{first} = {value}").parse().unwrap();
        config.extend(value);
        return;
    }
    match config.entry(first).or_insert_with(|| Table::new().into()) {
        Value::Table(table) => set(table, rest, value),
        Value::Array(array) => {
            set(array.first_mut().and_then(Value::as_table_mut).unwrap(), rest, value);
        }
        other => panic!("{first} is {other}"),
    }
}

fn load(config: &str) -> Result<Config, String> {
    thread_local!(static FOLDER: TempDir = folder(TLS));
    FOLDER.with(|folder| {
        let file = folder.path().join("config.toml");
        fs::write(&file, config).unwrap();
        config::load(&file).map_err(|problems| problems.to_string())
    })
}

/// A folder with this config.toml, and the files that it names.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut tables = vec![Value::from(config.parse::<Table>().unwrap())];
    while let Some(value) = tables.pop() {
        match value {
            Value::Array(array) => tables.extend(array),
            Value::Table(table) => {
                for (key, path) in table.iter().filter(|(key, _)| key.ends_with("_path")) {
                    let path = Path::new(path.as_str().unwrap());
                    assert!(path.is_relative(), "{} is elsewhere", path.display());
                    let path = folder.path().join(path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    let pem = if key == "leaf_key_path" {
                        signing_key.serialize_pem()
                    } else {
                        cert.pem()
                    };
                    fs::write(path, pem).unwrap();
                }
                tables.extend(table.into_iter().map(|(_, value)| value));
            }
            _ => {}
        }
    }
    folder
}

/// What stands between such lines.
fn blocks(text: &str, begin: &str, end: &str) -> Vec<String> {
    let (begin, end) = (format!("\n{begin}"), format!("\n{end}"));
    let block = |part: &str| {
        let (_, block) = part.split_once('\n').unwrap();
        block.split_once(&end).unwrap().0.to_owned() + "\n"
    };
    text.split(&begin).skip(1).map(block).collect()
}

fn imap_proxy(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imap-proxy"));
    command.args(arguments).current_dir(folder).output().unwrap()
}

fn help_of(arguments: &[&str]) -> String {
    let output = imap_proxy(Path::new("."), arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The options that a help text lists, in all their forms.
fn options(help: &str) -> impl Iterator<Item = &str> {
    let items = help.lines().filter(|line| line.trim_start().starts_with('-'));
    // The name of an argument may stand between the forms.
    let heads = items
        .flat_map(|line| line.split_whitespace().take_while(|word| word.starts_with(['-', '<'])));
    heads.filter(|word| word.starts_with('-')).map(|word| word.trim_end_matches(','))
}

/// The commands that a help text lists.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let items = list.lines().take_while(|line| line.starts_with("  "));
    items.filter_map(|line| line.split_whitespace().next())
}
