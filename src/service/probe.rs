//! Whether a running daemon could listen where a new config wants it to.

use std::{
    collections::HashSet,
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use procfs::{
    ProcResult,
    net::{TcpNetEntry, TcpState},
    process::{FDTarget, Process},
};

use super::listen::{covers, try_bind};
use crate::config::{Config, HostPort, Service};

/// The services that process `running` could not listen for, one line each. Where it listens
/// already is fine; elsewhere it is tried.
pub fn unavailable(config: &Config, running: i32) -> Vec<String> {
    let refused: Vec<_> = config.services.iter().filter_map(refusal).collect();
    if refused.is_empty() {
        return Vec::new();
    }
    // After the tries: the process may follow the same file, and have listened meanwhile.
    let held = match held_by(running) {
        Ok(held) => held,
        Err(error) => return vec![format!("cannot see where process {running} listens: {error}")],
    };
    let is_held = |wanted: &SocketAddr| held.iter().any(|bound| covers(*bound, *wanted));
    refused
        .into_iter()
        .filter(|refusal| !refusal.candidates.iter().any(is_held))
        .map(|Refusal { service, error, .. }| {
            let Service { name, bind, .. } = service;
            format!("service {name:?} cannot listen on {}: {error}", bind.address)
        })
        .collect()
}

/// Why nobody could listen for a service now.
struct Refusal<'c> {
    service: &'c Service,
    candidates: Vec<SocketAddr>,
    error: io::Error,
}

fn refusal(service: &Service) -> Option<Refusal<'_>> {
    let HostPort { host, port } = &service.bind.address;
    let (candidates, tried) = match (host.as_str(), *port).to_socket_addrs() {
        Ok(candidates) => {
            let candidates: Vec<_> = candidates.collect();
            let tried = try_bind(&candidates);
            (candidates, tried)
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    tried.err().map(|error| Refusal { service, candidates, error })
}

/// Where a process listens.
fn held_by(pid: i32) -> ProcResult<HashSet<SocketAddr>> {
    let process = Process::new(pid)?;
    let sockets: HashSet<u64> = process
        .fd()?
        .filter_map(|fd| match fd.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let is_held =
        |entry: &TcpNetEntry| entry.state == TcpState::Listen && sockets.contains(&entry.inode);
    let entries = process.tcp()?.into_iter().chain(process.tcp6()?);
    Ok(entries.filter(is_held).map(|entry| entry.local_address).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_we_hold_is_ours() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = held_by(std::process::id().try_into().unwrap()).unwrap();
        assert!(held.contains(&ours.local_addr().unwrap()));
        assert!(!held.contains(&([127, 0, 0, 1], 1).into()));
    }
}
