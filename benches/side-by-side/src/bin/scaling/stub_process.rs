//! The server in a process of its own.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use side_by_side::stub::Stub;

/// Dropping it stops it.
pub struct StubProcess {
    child: Child,
    pub stub: Stub,
}

impl StubProcess {
    pub fn start() -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        let (imap, auth_http) = line.trim().split_once(' ').context("no addresses")?;
        let stub = Stub { imap: imap.parse()?, auth_http: auth_http.parse()? };
        Ok(Self { child, stub })
    }
}

impl Drop for StubProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves until nobody is there any more who could ask.
pub fn serve() -> Result<()> {
    let stub = Stub::start()?;
    println!("{} {}", stub.imap, stub.auth_http);
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
