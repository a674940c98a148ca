//! How many sessions there are: in all, of each service, of each client.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Client;

/// Clients that are told at the same time that they cannot come in; more are not told.
const TOLD: usize = 256;

/// Counts the sessions that are alive.
#[derive(Clone, Debug, Default)]
pub struct Admission(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// No limit before there is a configuration.
    limit: Option<usize>,
    sessions: usize,
    services: HashMap<Arc<str>, usize>,
    clients: HashMap<Client, usize>,
    told: usize,
}

/// A session that counts until this is dropped.
#[derive(Debug)]
pub struct Permit {
    session: Count,
    /// Unknown at first: it may come from a header that another proxy sends.
    _client: Option<Count>,
}

/// Why there is no permit.
#[derive(Debug)]
pub struct Refused {
    /// Which limit is reached.
    pub full: Full,
    told: Option<Count>,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Of all services together.
    Proxy,
    /// Of one service.
    Service,
    /// Of one client.
    Client,
}

/// One that was counted; no more, once dropped.
#[derive(Debug)]
struct Count {
    counts: Arc<Mutex<Counts>>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Service(Arc<str>),
    Client(Client),
    Told,
}

impl Admission {
    /// Sets how many sessions there may be in all. Those that are alive stay.
    pub fn set_limit(&self, sessions: usize) {
        lock(&self.0).limit = Some(sessions);
    }

    /// Counts a session of a service that may have `limit` of them.
    pub fn enter(&self, service: &Arc<str>, limit: usize) -> Result<Permit, Refused> {
        let mut counts = lock(&self.0);
        let refused = if counts.limit.is_some_and(|limit| counts.sessions >= limit) {
            Some(Full::Proxy)
        } else if counts.services.get(service).is_some_and(|sessions| *sessions >= limit) {
            Some(Full::Service)
        } else {
            None
        };
        if let Some(full) = refused {
            return Err(counts.refusal(full, &self.0));
        }
        counts.sessions += 1;
        *counts.services.entry(Arc::clone(service)).or_default() += 1;
        drop(counts);
        let session = Count { counts: Arc::clone(&self.0), of: Of::Service(Arc::clone(service)) };
        Ok(Permit { session, _client: None })
    }
}

impl Permit {
    /// Counts the session for its client, too, who may have `limit` of them.
    pub fn identify(self, client: Client, limit: usize) -> Result<Self, Refused> {
        let counts = Arc::clone(&self.session.counts);
        let mut locked = lock(&counts);
        if locked.clients.get(&client).is_some_and(|sessions| *sessions >= limit) {
            let refused = locked.refusal(Full::Client, &counts);
            // Dropping the permit takes the lock.
            drop(locked);
            return Err(refused);
        }
        *locked.clients.entry(client).or_default() += 1;
        drop(locked);
        Ok(Self { _client: Some(Count { counts, of: Of::Client(client) }), ..self })
    }
}

impl Refused {
    /// Whether the client may be told, which takes time. It is over when this is dropped.
    pub fn may_be_told(&self) -> bool {
        self.told.is_some()
    }
}

impl Counts {
    fn refusal(&mut self, full: Full, counts: &Arc<Mutex<Self>>) -> Refused {
        let may_be_told = self.told < TOLD;
        if may_be_told {
            self.told += 1;
        }
        let told = may_be_told.then(|| Count { counts: Arc::clone(counts), of: Of::Told });
        Refused { full, told }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        match &self.of {
            Of::Service(service) => {
                counts.sessions -= 1;
                give_back(&mut counts.services, service);
            }
            Of::Client(client) => give_back(&mut counts.clients, client),
            Of::Told => counts.told -= 1,
        }
    }
}

/// Nobody who has no session takes any room.
fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Full {
    /// For the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Proxy => "too many connections in all",
            Self::Service => "too many connections to the service",
            Self::Client => "too many connections from its address",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(last: u8) -> Client {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn full(entry: Result<Permit, Refused>) -> Option<Full> {
        entry.err().map(|refused| refused.full)
    }

    #[test]
    fn each_limit_counts_for_itself() {
        let admission = Admission::default();
        admission.set_limit(3);
        let (a, b) = ("a".into(), "b".into());
        let first = admission.enter(&a, 2).unwrap().identify(client(1), 1).unwrap();
        let second = admission.enter(&a, 2).unwrap().identify(client(2), 1).unwrap();
        assert_eq!(full(admission.enter(&a, 2)), Some(Full::Service));
        assert_eq!(
            full(admission.enter(&b, 9).unwrap().identify(client(1), 1)),
            Some(Full::Client)
        );
        let third = admission.enter(&b, 9).unwrap();
        assert_eq!(full(admission.enter(&b, 9)), Some(Full::Proxy));
        // More for one service does not help another, nor the whole.
        admission.set_limit(4);
        assert_eq!(full(admission.enter(&a, 2)), Some(Full::Service));
        assert!(admission.enter(&a, 3).is_ok());
        drop((first, second, third));
        let counts = lock(&admission.0);
        assert_eq!((counts.sessions, counts.told), (0, 0));
        assert!(counts.services.is_empty() && counts.clients.is_empty());
    }

    #[test]
    fn a_lower_limit_waits_for_sessions_to_end() {
        let admission = Admission::default();
        let a = "a".into();
        let sessions: Vec<_> = (0..5).map(|_| admission.enter(&a, 9).unwrap()).collect();
        admission.set_limit(2);
        for (ended, session) in sessions.into_iter().enumerate() {
            assert_eq!(admission.enter(&a, 9).is_ok(), ended == 4);
            drop(session);
        }
    }

    #[test]
    fn not_all_who_are_refused_are_told() {
        let admission = Admission::default();
        admission.set_limit(0);
        let a = "a".into();
        let refused: Vec<_> = (0..TOLD + 3).map(|_| admission.enter(&a, 9).unwrap_err()).collect();
        assert_eq!(refused.iter().filter(|refused| refused.may_be_told()).count(), TOLD);
        drop(refused);
        assert!(admission.enter(&a, 9).unwrap_err().may_be_told());
    }
}
