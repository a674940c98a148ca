//! The command line.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{config, exit::Exit, service, supervisor};

/// A hardened IMAP proxy that shows every message and loses none.
///
/// Runs until SIGTERM, with one listener for each service of the config file. The file is read
/// again when it changes and on SIGHUP; what is wrong in it then leaves everything as it was.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    /// The config file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/imap-proxy/config.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the config file, and the certificates and keys that it names, and lists its services
    #[command(after_help = EXIT_CODES)]
    Check {
        /// Checks, too, that every address can be listened on that process PID does not listen on
        /// already. Made for `ExecReload`= of the unit
        #[arg(long, value_name = "PID")]
        running: Option<i32>,
    },
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 64 wrong usage, 70 internal error, 71 the system refuses, 78 the config file is wrong";

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { config, command: None }) => supervisor::run(&config),
        Ok(Cli { config, command: Some(Command::Check { running }) }) => {
            check(&config, running).into()
        }
        Err(error) => {
            // Nobody left to tell when this fails.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
        }
    }
}

/// The definition of the command line, for what is made of it: shell completions.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Prints the services, or all problems. With `running` the services are not printed: each reload
/// would leave them in the journal.
fn check(path: &Path, running: Option<i32>) -> Exit {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(io::stderr(), "{problems}");
            return Exit::Config;
        }
    };
    if let Some(pid) = running {
        let problems = service::unavailable(&config, pid);
        let _ = problems.iter().try_for_each(|problem| writeln!(io::stderr(), "{problem}"));
        return if problems.is_empty() { Exit::Ok } else { Exit::Config };
    }
    for warning in config.warnings() {
        let _ = writeln!(io::stderr(), "{}: warning: {warning}", path.display());
    }
    let mut out = io::stdout().lock();
    for service in &config.services {
        // A reader that went away does not make the file wrong.
        let _ = writeln!(out, "{:?}: {service}", service.name);
    }
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn the_config_may_stand_on_either_side() {
        for line in
            [["imap-proxy", "--config", "x", "check"], ["imap-proxy", "check", "--config", "x"]]
        {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.config, Path::new("x"));
            assert!(matches!(cli.command, Some(Command::Check { running: None })));
        }
    }
}
