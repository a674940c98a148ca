//! Sessions that do nothing.

use std::{net::Ipv4Addr, ops::Range, thread};

use anyhow::{Context, Result, anyhow};

use crate::{
    client::{Client, Target},
    usage::Tree,
};

/// Kilobytes for each idle session, after some others have paid for what all share.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn memory(target: &Target, proxy: Tree, sessions: usize) -> Result<f64> {
    const OTHERS: usize = 50;
    let others = gather(target, 0..OTHERS)?;
    let before = proxy.memory()?;
    let clients = gather(target, OTHERS..OTHERS + sessions)?;
    let after = proxy.memory()?;
    for mut client in others.into_iter().chain(clients) {
        client.command("NOOP").context("a session was not idle but gone")?;
    }
    Ok((after as f64 - before as f64) / 1000.0 / sessions as f64)
}

/// Logs in so many, from several addresses: some proxies bound the sessions of each.
pub fn gather(target: &Target, which: Range<usize>) -> Result<Vec<Client>> {
    const EACH: usize = 50;
    const AT_ONCE: usize = 8;
    let which = which.collect::<Vec<_>>();
    let log_in = |n: &usize| {
        let [.., high, low] = (n / EACH).to_be_bytes();
        Client::log_in(target, Some(Ipv4Addr::new(127, 1, high, low)))
    };
    thread::scope(|scope| {
        let size = which.len().div_ceil(AT_ONCE).max(1);
        let threads = which
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().map(log_in).collect::<Result<Vec<_>>>()))
            .collect::<Vec<_>>();
        let mut clients = Vec::new();
        for thread in threads {
            clients.extend(thread.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))?);
        }
        Ok(clients)
    })
}
