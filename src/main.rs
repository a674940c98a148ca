//! Starts what the command line says.

use std::process::ExitCode;

fn main() -> ExitCode {
    imap_proxy::cli::main()
}
