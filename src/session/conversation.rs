//! The loop that carries bytes between the two legs and the relay.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    buffers,
    connect::{self, ConnectError},
    ending::Ending,
    leg::{LAST_WORDS, Leg},
    logins::Logins,
};
use crate::{
    config::Timeouts,
    relay::{Fault, Relay, Tap},
    trace,
};

/// How long a server may be silent after its client said that it would send nothing more; see
/// [`LAST_WORDS`] for where it has to speak before the client's last words can go to it.
const HALF_CLOSED: Duration = Duration::from_secs(60);
/// For the goodbye of a session that the proxy's stop interrupts.
pub(crate) const GOODBYE: Duration = Duration::from_secs(3);

/// A session whose two legs stand.
pub(super) struct Conversation<'a, T> {
    pub(super) client: Leg,
    pub(super) server: Leg,
    pub(super) relay: Box<Relay<T>>,
    timeouts: &'a Timeouts,
    logins: Logins<'a>,
    started: Instant,
    /// When either side last sent anything.
    last_heard: Instant,
    to_server: Direction,
    /// Until when the session has to end.
    stopping: Option<Instant>,
}

/// Whether the server's leg can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Open,
    /// The client is done: what waits is delivered, then the leg is shut down.
    Closing,
    Closed,
}

impl<'a, T: Tap> Conversation<'a, T> {
    pub(super) fn new(
        client: Leg,
        server: Leg,
        mut relay: Box<Relay<T>>,
        timeouts: &'a Timeouts,
        logins: Logins<'a>,
    ) -> Self {
        relay.hold_logins();
        let now = Instant::now();
        Self {
            client,
            server,
            relay,
            timeouts,
            logins,
            started: now,
            last_heard: now,
            to_server: Direction::Open,
            stopping: None,
        }
    }

    /// Carries messages until one side ends it or something breaks; after `stop` until no command
    /// is under way.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> Ending {
        let cancelled = stop.cancelled();
        let alarm = sleep_until(self.deadline().0);
        tokio::pin!(cancelled, alarm);
        poll_fn(|cx| {
            trace::note_turn();
            self.client.begin_turn();
            self.server.begin_turn();
            loop {
                if self.stopping.is_some() && self.relay.is_idle() {
                    return Poll::Ready(Ending::Shutdown);
                }
                match self.step(cx) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(ending) => return Poll::Ready(ending),
                }
                if self.stopping.is_none() && cancelled.as_mut().poll(cx).is_ready() {
                    self.stopping = Some(Instant::now() + self.timeouts.shutdown);
                    continue;
                }
                let (deadline, expired) = self.deadline();
                // A login that waited long enough ends nothing, nor does a message that is to be shown.
                let shown = self.relay.tap().due().map(Instant::from_std);
                let wake = [self.logins.held_until(), shown].into_iter().flatten();
                let wake = wake.fold(deadline, Instant::min);
                // Ringing too early now and then costs less than moving it with each message.
                if wake < alarm.deadline() || alarm.is_elapsed() {
                    alarm.as_mut().reset(wake);
                }
                ready!(alarm.as_mut().poll(cx));
                let now = Instant::now();
                if now >= deadline {
                    return Poll::Ready(expired);
                }
                self.show_what_is_due(now);
            }
        })
        .await
    }

    /// Says what there is to say, delivers what there is to deliver, and closes both legs. When
    /// the proxy stops, for a bounded time only.
    pub(super) fn close(
        self,
        ending: &'a Ending,
        stop: &'a CancellationToken,
    ) -> impl Future<Output = ()> + use<'a, T> {
        let Self { client, server, mut relay, timeouts, to_server, stopping, .. } = self;
        relay.tap().show();
        match ending {
            Ending::ServerClosed => relay.server_finished(),
            _ => {
                if let Some(reason) = ending.bye() {
                    relay.say_bye(reason);
                }
            }
        }
        let last_to_client = relay.to_client().split();
        let last_to_server = relay.to_server().split();
        // Of all that the session was, only this lives on.
        async move {
            let stall = timeouts.write_stall;
            let client = async {
                if !matches!(ending, Ending::ClientLost(_) | Ending::ClientStalled) {
                    // On the heap, for rarely both are needed.
                    let _ = Box::pin(client.close(last_to_client, stall)).await;
                }
            };
            let server = async {
                if to_server == Direction::Open
                    && !matches!(ending, Ending::ServerClosed | Ending::ServerStalled)
                {
                    let _ = Box::pin(server.close(last_to_server, stall)).await;
                }
            };
            let cut = async {
                stop.cancelled().await;
                let until = stopping.unwrap_or_else(|| Instant::now() + timeouts.shutdown);
                sleep_until(until + GOODBYE).await;
            };
            tokio::select! {
                _ = async { tokio::join!(client, server) } => {}
                () = cut => {}
            }
        }
    }

    /// Moves what can be moved. Returns whether anything was; `cx` is woken when more can be.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let heard_server = match self.server.fill(cx) {
            Ok(heard) => heard,
            // In TLS 1.3 a server says only after the handshake what it thinks of our certificate.
            Err(error) if !self.relay.is_greeted() && connect::is_alert(&error) => {
                return Err(ConnectError::Tls(error).into());
            }
            Err(_) => {
                // Whatever broke: nothing more will come.
                self.server.eof = true;
                true
            }
        };
        let heard_client = self.client.fill(cx).map_err(Ending::ClientLost)?;
        if heard_server || heard_client {
            self.last_heard = Instant::now();
            // Where there is always more to do, no alarm rings.
            self.show_what_is_due(self.last_heard);
        }
        let mut progress = heard_server || heard_client;

        if !self.server.inbox.is_empty() {
            buffers::lend(self.relay.to_client());
        }
        let taken = self.relay.take_from_server(&mut self.server.inbox);
        self.logins.note_failed(self.relay.failed_logins());
        progress |= taken?;
        progress |= self.relay.take_from_client(&mut self.client.inbox)?;
        if self.logins.proceed(&mut self.relay) {
            self.last_heard = Instant::now();
            progress = true;
        }
        progress |= self.client.drain(cx, self.relay.to_client()).map_err(Ending::ClientLost)?;
        progress |= self.write_to_server(cx);

        if self.relay.is_turned_away() {
            return Err(Ending::TurnedAway);
        }
        if self.server.eof && self.server.inbox.is_empty() {
            return Err(match (self.relay.is_greeted(), self.client.eof) {
                (_, true) => Ending::ClientClosed,
                (false, false) => {
                    Fault::Server("the server closed the connection before it greeted").into()
                }
                (true, false) => Ending::ServerClosed,
            });
        }
        Ok(progress)
    }

    fn show_what_is_due(&mut self, now: Instant) {
        if self.relay.tap().due().is_some_and(|due| due <= now.into_std()) {
            self.relay.tap().show();
        }
    }

    fn write_to_server(&mut self, cx: &mut Context<'_>) -> bool {
        if self.to_server == Direction::Closed {
            self.server.abandon(self.relay.to_server());
            return false;
        }
        let progress = match self.server.drain(cx, self.relay.to_server()) {
            Ok(progress) => progress,
            Err(error) => return self.server_takes_no_more(&error),
        };
        let is_done = self.client.eof && self.client.inbox.is_empty() && !self.relay.holds_back();
        if self.to_server == Direction::Open && is_done {
            self.to_server = Direction::Closing;
            self.relay.client_finished();
            return true;
        }
        if self.to_server == Direction::Closing
            && self.relay.to_server().is_empty()
            && let Poll::Ready(_) = self.server.poll_shutdown(cx)
        {
            self.to_server = Direction::Closed;
            return true;
        }
        progress
    }

    /// What it sent before may still be there to be read: the session ends with its EOF.
    fn server_takes_no_more(&mut self, error: &io::Error) -> bool {
        tracing::debug!(%error, "the server takes nothing more");
        self.server.abandon(self.relay.to_server());
        self.to_server = Direction::Closed;
        true
    }

    /// Until when something has to happen, and what it means if nothing does.
    fn deadline(&mut self) -> (Instant, Ending) {
        let timeouts = self.timeouts;
        let mut earliest = if !self.relay.is_greeted() {
            (self.started + timeouts.greeting, Ending::GreetingTimeout)
        } else if self.client.eof {
            let patience = if self.client.inbox.is_empty() { HALF_CLOSED } else { LAST_WORDS };
            let heard =
                self.logins.held_until().map_or(self.last_heard, |at| at.max(self.last_heard));
            (heard + patience, Ending::ClientClosed)
        } else if self.relay.is_authenticated() {
            (self.last_heard + timeouts.idle, Ending::IdleTimeout)
        } else {
            (self.logins.deadline(), Ending::LoginTimeout)
        };
        let mut consider = |at: Option<Instant>, ending| {
            if let Some(at) = at.filter(|at| *at < earliest.0) {
                earliest = (at, ending);
            }
        };
        consider(self.client.stall_deadline(timeouts.write_stall), Ending::ClientStalled);
        consider(self.server.stall_deadline(timeouts.write_stall), Ending::ServerStalled);
        consider(self.stopping, Ending::Shutdown);
        earliest
    }
}
