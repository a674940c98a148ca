//! TLS on both sides: what we show to clients, and whom we trust as a server.

mod identity;
mod pem;
mod upstream;

pub use identity::{Identity, IdentityError, IdentityFile};
pub use pem::{PemError, ca_certificates};
pub use upstream::{RootsError, SystemRoots};
