//! The one channel on which everything reaches the supervisor.

use std::{io, time::Duration};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::StreamExt;

/// What can happen to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// SIGHUP: read the config again.
    Reload,
    /// Files changed, or a certificate and its key had time to become a pair.
    FilesChanged,
    /// SIGTERM or SIGINT.
    Stop,
    /// Time to tell systemd that the supervisor is alive, and how it is.
    Tick,
}

/// Room for what happens while a reload is under way; senders wait beyond it.
const CAPACITY: usize = 16;

/// The channel, with the signals connected to it.
pub(super) fn channel() -> io::Result<(mpsc::Sender<Input>, mpsc::Receiver<Input>)> {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let inputs = sender.clone();
    tokio::spawn(async move {
        while let Some(signal) = signals.next().await {
            let input = if signal == SIGHUP { Input::Reload } else { Input::Stop };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    });
    Ok((sender, receiver))
}

/// Sends a tick every `period`, through the same channel as everything else: a supervisor that
/// hangs does not answer them.
pub(super) fn tick(inputs: mpsc::Sender<Input>, period: Duration) {
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if inputs.send(Input::Tick).await.is_err() {
                return;
            }
        }
    });
}
