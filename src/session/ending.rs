//! How a session ends: whose doing it was, what the client is told, what the log says.

use std::io;

use thiserror::Error;

use super::{arrival::Unannounced, connect::ConnectError};
use crate::relay::Fault;

/// Why a session ended.
#[derive(Debug, Error)]
pub(super) enum Ending {
    #[error("the client closed the connection")]
    ClientClosed,
    #[error("the server closed the connection")]
    ServerClosed,
    #[error("the client logged out")]
    LoggedOut,
    #[error("{0}")]
    Unannounced(#[from] Unannounced),
    #[error("TLS handshake with the client failed: {0}")]
    Handshake(io::Error),
    #[error("the client did not finish the TLS handshake in time")]
    HandshakeTimeout,
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("the connection to the client broke: {0}")]
    ClientLost(io::Error),
    #[error("the server did not greet in time")]
    GreetingTimeout,
    #[error("the server turned the client away")]
    TurnedAway,
    #[error("the client did not log in in time")]
    LoginTimeout,
    #[error("nothing happened for too long")]
    IdleTimeout,
    #[error("the client did not read what was sent to it")]
    ClientStalled,
    #[error("the server did not read what was sent to it")]
    ServerStalled,
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the proxy shuts down")]
    Shutdown,
}

impl Ending {
    /// Who has to mend it, if there is anything to mend.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::ClientClosed
            | Self::ServerClosed
            | Self::LoggedOut
            | Self::IdleTimeout
            | Self::Shutdown => None,
            Self::Unannounced(_)
            | Self::Handshake(_)
            | Self::HandshakeTimeout
            | Self::ClientLost(_)
            | Self::LoginTimeout
            | Self::ClientStalled
            | Self::Fault(Fault::Client(_)) => Some("client"),
            Self::Connect(_)
            | Self::GreetingTimeout
            | Self::TurnedAway
            | Self::ServerStalled
            | Self::Fault(Fault::Server(_)) => Some("server"),
        }
    }

    /// Whether the client left, in whatever way.
    pub(super) fn is_leave(&self) -> bool {
        matches!(self, Self::ClientClosed | Self::ClientLost(_))
    }

    /// The kind of an end that a flood of clients could bring about at will: the log tells each
    /// kind once a minute for each client.
    pub(super) fn flood(&self) -> Option<&'static str> {
        match self {
            Self::Unannounced(_) => Some("PROXY header"),
            Self::Handshake(_) => Some("handshake"),
            Self::HandshakeTimeout => Some("handshake timeout"),
            Self::LoginTimeout => Some("login timeout"),
            Self::ClientStalled => Some("stall"),
            Self::Fault(Fault::Client(reason)) => Some(reason),
            _ => None,
        }
    }

    /// What follows `* BYE proxy: `, where the client can still be told.
    pub(super) fn bye(&self) -> Option<&'static str> {
        match self {
            Self::Connect(error) => Some(error.reason()),
            Self::GreetingTimeout => Some("the server did not greet in time"),
            Self::LoginTimeout => Some("too slow to log in"),
            Self::IdleTimeout => Some("idle for too long"),
            Self::ServerStalled => Some("the server does not take what is sent"),
            Self::Fault(Fault::Client(reason) | Fault::Server(reason)) => Some(reason),
            Self::Shutdown => Some("shutting down"),
            // Of the server's end the relay tells, which knows whether the server did.
            Self::ServerClosed
            | Self::LoggedOut
            | Self::TurnedAway
            | Self::ClientClosed
            | Self::Unannounced(_)
            | Self::Handshake(_)
            | Self::HandshakeTimeout
            | Self::ClientLost(_)
            | Self::ClientStalled => None,
        }
    }
}
