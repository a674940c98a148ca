//! TLS on both sides: what we show to clients, and whom we trust as a server.

mod downstream;
mod identities;
mod identity;
mod pem;
mod security;
mod upstream;

pub use downstream::{ClientCa, Downstream};
pub use identity::{Identity, IdentityError, IdentityFile};
pub use pem::{PemError, ca_certificates};
pub use security::Security;
pub use upstream::{RootsError, SystemRoots};
