//! Where clients come in: listening sockets, their accept loops, and what serves the clients.

mod accept;
mod listen;
mod probe;
mod workers;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    config,
    gate::Gate,
    relay::Policy,
    session::{self, Setup, Upstream},
    tls::{RootsError, SystemRoots},
    trace::{self, TraceHandle},
};

pub use listen::{Socket, adopt, covers, listen, resolve};
pub use probe::unavailable;
use workers::Worker;
pub use workers::Workers;

/// The sessions of all services.
#[derive(Clone)]
pub struct Sessions {
    workers: Workers,
    tasks: TaskTracker,
}

impl Sessions {
    /// None yet; they will live on these threads.
    pub fn new(workers: Workers) -> Self {
        Self { workers, tasks: TaskTracker::new() }
    }

    /// The threads that they live on.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// How many are alive.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether none is alive.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Asks all to end as soon as no command is under way, and waits until they did.
    pub async fn stop(&self) {
        self.workers.stop();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A listening socket with its accept loop. Ends when dropped; the sessions go on.
pub struct Listener {
    socket: Arc<Socket>,
    target: Arc<ArcSwap<Setup>>,
    accepting: AbortOnDropHandle<()>,
}

impl Listener {
    /// Takes in clients from now on, and has them served by `setup`.
    pub fn open(socket: Socket, setup: Arc<Setup>, sessions: Sessions) -> Self {
        let (socket, target) = (Arc::new(socket), Arc::new(ArcSwap::new(setup)));
        let accepting = socket.worker.runtime.spawn({
            let (socket, target) = (Arc::clone(&socket), Arc::clone(&target));
            async move {
                let serve = |client, from, worker: &Worker| {
                    let setup = target.load_full();
                    let limit = setup.connections.in_service;
                    match setup.gate.admission.enter(&setup.service, limit) {
                        Err(refused) if !refused.may_be_told() => {
                            session::hang_up(client, from, &refused, &setup);
                        }
                        entry => {
                            let stop = worker.stop.clone();
                            let session = async move {
                                session::run(client, from, entry, setup, stop).await;
                                // Where it was the last one, the log is closed next.
                                trace::hand_over();
                            };
                            sessions.tasks.spawn_on(session, &worker.runtime);
                        }
                    }
                };
                match accept::run(&socket, &sessions.workers, serve).await {}
            }
        });
        Self { socket, target, accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.socket.address
    }

    /// Takes in nobody any more once this returns.
    pub async fn close(self) {
        self.accepting.abort();
        // Its end is that it was aborted.
        let _aborted = self.accepting.await;
    }

    /// Has clients that come from now on served by `setup`.
    pub fn point_at(&self, setup: Arc<Setup>) {
        self.target.store(setup);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the sessions of a service need, from its config.
pub fn setup(
    config: &config::Service,
    roots: &mut SystemRoots,
    shown_at: TraceHandle,
    gate: Arc<Gate>,
) -> Result<Setup, RootsError> {
    let upstream = config.connect.security.try_map(|tls| {
        let connector = roots.connector(&tls.ca_certificates, tls.identity.as_ref())?;
        Ok::<_, RootsError>((connector, tls.server_name.clone()))
    })?;
    Ok(Setup {
        service: Arc::clone(&config.name),
        balancers: config.bind.proxy_protocol_from.clone(),
        clients: config.bind.security.map(|tls| ArcSwap::new(tls.server_config())),
        upstream: Upstream {
            address: config.connect.address.clone(),
            name: config.connect.address.to_string().into(),
            proxy_protocol: config.connect.proxy_protocol,
            send_client_id: config.connect.send_client_id,
            security: upstream,
        },
        connections: config.connections,
        gate,
        limits: config.limits.clone(),
        policy: Policy::new(&config.allow_capabilities),
        timeouts: config.timeouts.clone(),
        trace: config.trace.clone(),
        shown_at,
    })
}
