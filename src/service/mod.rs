//! One listening service: its socket, its accept loop, its sessions.

mod accept;

use std::{io, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{self, HostPort},
    relay::{Bounds, Policy},
    session::{self, Setup, Upstream},
    tls::{RootsError, SystemRoots},
    trace::TraceHandle,
};

/// Connections that the kernel holds for us between two accepts.
const BACKLOG: u32 = 1024;

/// A service that is ready to run.
pub struct Service {
    listener: TcpListener,
    /// Where it listens; the port is the real one even where the config says 0.
    pub address: SocketAddr,
    setup: Arc<Setup>,
}

impl Service {
    /// Binds the socket.
    pub async fn bind(config: &config::Service, setup: Arc<Setup>) -> io::Result<Self> {
        let listener = listen(&config.bind.address).await?;
        Ok(Self { address: listener.local_addr()?, listener, setup })
    }

    /// Takes in clients until `stop` says so. Sessions go on: `sessions` knows them, `cut` ends
    /// them.
    pub async fn run(self, sessions: TaskTracker, stop: CancellationToken, cut: CancellationToken) {
        let setup = &self.setup;
        let serve = |socket, client| {
            sessions.spawn(session::run(socket, client, Arc::clone(setup), cut.clone()));
        };
        tokio::select! {
            never = accept::run(&self.listener, &setup.service, serve) => match never {},
            () = stop.cancelled() => {}
        }
    }
}

/// What the sessions of a service need, from its config.
pub fn setup(
    config: &config::Service,
    roots: &SystemRoots,
    shown_at: TraceHandle,
) -> Result<Setup, RootsError> {
    let tls = match &config.connect.tls {
        Some(tls) => Some((roots.connector(&tls.ca_certificates)?, tls.server_name.clone())),
        None => None,
    };
    let limits = &config.limits;
    Ok(Setup {
        service: Arc::clone(&config.name),
        identity: ArcSwapOption::new(
            config.bind.tls.as_ref().map(crate::tls::Identity::server_config),
        ),
        upstream: Upstream { address: config.connect.address.clone(), tls },
        bounds: Bounds {
            command_line: limits.command_line,
            collect_literal: limits.collect_literal,
            literal: limits.literal,
            unanswered_commands: limits.unanswered_commands,
        },
        policy: Policy::new(&config.allow_capabilities),
        timeouts: config.timeouts.clone(),
        trace: config.trace.clone(),
        shown_at,
    })
}

/// Listens on the first of the host's addresses that can be had.
async fn listen(HostPort { host, port }: &HostPort) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host.as_str(), *port)).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the past in TIME_WAIT must not keep us from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
