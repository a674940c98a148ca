//! How the process ends.

use std::process::ExitCode;

/// The exit codes of the program (`sysexits.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// A fault in the program (`EX_SOFTWARE`).
    Software = 70,
    /// The operating system refused something, such as a port (`EX_OSERR`).
    System = 71,
    /// The config file is wrong (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
