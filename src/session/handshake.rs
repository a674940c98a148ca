//! TLS with the client.

use arc_swap::ArcSwap;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{Setup, arrival::Origin, ending::Ending, leg::Stream};

/// Does the handshake, and notes in `origin` what it told of the client. The certificate is the one
/// that is in force now.
pub(super) async fn shake_hands(
    stream: impl Stream + 'static,
    tls: &ArcSwap<ServerConfig>,
    origin: &mut Origin,
    setup: &Setup,
) -> Result<Box<dyn Stream>, Ending> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    match timeout(setup.timeouts.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            origin.shook_hands(stream.get_ref().1);
            Ok(Box::new(stream))
        }
        Ok(Err(error)) => Err(Ending::Handshake(error)),
        Err(_) => Err(Ending::HandshakeTimeout),
    }
}
