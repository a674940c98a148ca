//! The services that run, and how a new configuration takes their place: as a whole or not at all.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
};

use thiserror::Error;

use super::systemd::{self, Inherited};
use crate::{
    config::{Change, Config, Diff, HostPort, Service},
    gate::Gate,
    service::{self, Listener, Sessions, Socket, Workers},
    session::Setup,
    tls::{RootsError, SystemRoots},
    trace::TraceHandle,
};

/// Why a configuration cannot take effect, though nothing is wrong with its text.
#[derive(Debug, Error)]
pub(super) enum ApplyError {
    #[error("service {service:?}: {error}")]
    Roots { service: Arc<str>, error: RootsError },
    #[error("service {service:?} cannot listen on {address}: {error}")]
    Listen { service: Arc<str>, address: HostPort, error: io::Error },
}

/// What a listening socket belongs to: its address. With port 0 each service has one of its own.
type Key = (HostPort, Option<Arc<str>>);

fn key(service: &Service) -> Key {
    let address = service.bind.address.clone();
    let owner = (address.port == 0).then(|| Arc::clone(&service.name));
    (address, owner)
}

/// Where the socket of a key that is new comes from.
enum Opened {
    New(Socket),
    /// From our own listener of this key, which nobody wants any more: the same address by another
    /// name, such as `localhost` for `127.0.0.1`.
    Ours(Key),
}

/// All services of the configuration in force.
pub(super) struct Services {
    /// `None` before the first one.
    config: Option<Config>,
    listeners: HashMap<Key, Listener>,
    setups: HashMap<Arc<str>, Arc<Setup>>,
    inherited: Inherited,
    sessions: Sessions,
    gate: Arc<Gate>,
    shown_at: TraceHandle,
}

impl Services {
    pub(super) fn new(inherited: Inherited, shown_at: TraceHandle, workers: Workers) -> Self {
        Self {
            config: None,
            listeners: HashMap::new(),
            setups: HashMap::new(),
            inherited,
            sessions: Sessions::new(workers),
            gate: Arc::default(),
            shown_at,
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Puts `config` in the place of the one in force: builds all that is new, then swaps, then
    /// drops what is gone. After an error everything is as it was.
    pub(super) async fn apply(&mut self, config: Config) -> Result<Diff, ApplyError> {
        let diff = match &self.config {
            Some(old) => Diff::between(old, &config),
            None => Diff {
                added: config.services.iter().map(|s| Arc::clone(&s.name)).collect(),
                ..Diff::default()
            },
        };
        if diff.is_empty() {
            return Ok(diff);
        }
        let setups = self.build_setups(&config, &diff)?;
        let opened = self.open_sockets(&config).await?;
        self.swap(&config, &diff, setups, opened);
        self.drop_what_is_gone(&config).await;
        self.config = Some(config);
        Ok(diff)
    }

    /// Stops taking in clients. The sockets stay in systemd's store, for the next start.
    pub(super) async fn close(&mut self) {
        for (_, listener) in self.listeners.drain() {
            listener.close().await;
        }
    }

    fn build_setups(
        &self,
        config: &Config,
        diff: &Diff,
    ) -> Result<HashMap<Arc<str>, Arc<Setup>>, ApplyError> {
        // With another certificate only, the setup stays, so that clients that are between accept
        // and handshake get it, too.
        let is_other = |(_, change): &&(_, Change)| *change != Change::Identity;
        let changed: HashSet<_> =
            diff.changed.iter().filter(is_other).map(|(name, _)| name).collect();
        let mut roots = None;
        let mut setups = HashMap::with_capacity(config.services.len());
        for service in &config.services {
            let name = Arc::clone(&service.name);
            let kept = self.setups.get(&name).filter(|_| !changed.contains(&name));
            let setup = if let Some(setup) = kept {
                Arc::clone(setup)
            } else {
                let roots = roots.get_or_insert_with(|| system_roots(config));
                let (shown_at, gate) = (self.shown_at.clone(), Arc::clone(&self.gate));
                let setup = service::setup(service, roots, shown_at, gate);
                Arc::new(setup.map_err(|error| ApplyError::Roots { service: name.clone(), error })?)
            };
            setups.insert(name, setup);
        }
        Ok(setups)
    }

    async fn open_sockets(&mut self, config: &Config) -> Result<HashMap<Key, Opened>, ApplyError> {
        let wanted: HashSet<_> = config.services.iter().map(key).collect();
        let mut spare: HashMap<_, _> = self
            .listeners
            .iter()
            .filter(|(key, _)| !wanted.contains(key))
            .map(|(key, listener)| (listener.address(), key.clone()))
            .collect();
        let mut opened = HashMap::new();
        for service in &config.services {
            let key = key(service);
            if self.listeners.contains_key(&key) {
                continue;
            }
            let listening = self.open_socket(&key.0, &mut spare).await;
            let socket = listening.map_err(|error| ApplyError::Listen {
                service: Arc::clone(&service.name),
                address: key.0.clone(),
                error,
            })?;
            opened.insert(key, socket);
        }
        Ok(opened)
    }

    async fn open_socket(
        &mut self,
        address: &HostPort,
        spare: &mut HashMap<SocketAddr, Key>,
    ) -> io::Result<Opened> {
        let addresses = service::resolve(address).await?;
        if let Some(key) = addresses.iter().find_map(|address| spare.remove(address)) {
            return Ok(Opened::Ours(key));
        }
        let socket = match self.inherited.take(&addresses) {
            Some(socket) => service::adopt(socket, self.sessions.workers()),
            None => service::listen(&addresses, self.sessions.workers()),
        };
        Ok(Opened::New(socket?))
    }

    /// Cannot fail: everything is there.
    fn swap(
        &mut self,
        config: &Config,
        diff: &Diff,
        setups: HashMap<Arc<str>, Arc<Setup>>,
        mut opened: HashMap<Key, Opened>,
    ) {
        self.gate.admission.set_limit(config.connections);
        let is_renewed = |(_, change): &&(_, Change)| *change == Change::Identity;
        let renewed: HashSet<_> =
            diff.changed.iter().filter(is_renewed).map(|(name, _)| name).collect();
        for service in &config.services {
            let (key, Some(setup)) = (key(service), setups.get(&service.name)) else { continue };
            if renewed.contains(&service.name)
                && let Some(shown) = setup.clients.tls()
                && let Some(tls) = service.bind.security.tls()
            {
                shown.store(tls.server_config());
            }
            match opened.remove(&key) {
                Some(Opened::New(socket)) => {
                    let address = socket.address;
                    let listener = Listener::open(socket, Arc::clone(setup), self.sessions.clone());
                    tracing::info!(imap.service = %service.name, "listening on {address} ({service})");
                    if key.1.is_none() {
                        systemd::store(address, &listener);
                    }
                    self.listeners.insert(key, listener);
                }
                Some(Opened::Ours(old)) => {
                    if let Some(listener) = self.listeners.remove(&old) {
                        listener.point_at(Arc::clone(setup));
                        self.listeners.insert(key, listener);
                    }
                }
                None => {
                    if let Some(listener) = self.listeners.get(&key) {
                        listener.point_at(Arc::clone(setup));
                    }
                }
            }
        }
        self.setups = setups;
    }

    async fn drop_what_is_gone(&mut self, config: &Config) {
        let wanted: HashSet<_> = config.services.iter().map(key).collect();
        let gone: Vec<_> = self.listeners.extract_if(|key, _| !wanted.contains(key)).collect();
        for (_, listener) in gone {
            let address = listener.address();
            systemd::forget(address);
            listener.close().await;
            tracing::info!("no longer listening on {address}");
        }
        self.inherited.release();
    }
}

fn system_roots(config: &Config) -> SystemRoots {
    if config.services.iter().all(|service| service.connect.security.tls().is_none()) {
        return SystemRoots::none();
    }
    let roots = SystemRoots::load();
    for problem in &roots.problems {
        tracing::warn!(fault = "proxy", "the system's CA certificates: {problem}");
    }
    roots
}
