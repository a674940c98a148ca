//! What the proxy settles with the server before the session's messages pass.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    connect::{ConnectError, Upstream},
    ending::Ending,
    leg::{Leg, Stream},
};
use crate::{
    relay::{Fault, Opening, Relay, Step, Tap},
    tls::Security,
};

/// What there is to settle: an upgrade by STARTTLS where that is configured, and `id` (the arguments of an ID
/// command) if there is one.
pub(super) fn due(upstream: &Upstream, id: Option<Vec<u8>>) -> Option<Opening> {
    let start_tls = matches!(upstream.security, Security::StartTls(_));
    (start_tls || id.is_some()).then(|| Opening::new(start_tls, id))
}

/// Settles it. The leg that it returns begins with the greeting.
pub(super) async fn settle<T: Tap>(
    mut opening: Opening,
    mut stream: Box<dyn Stream>,
    upstream: &Upstream,
    relay: &mut Relay<T>,
) -> Result<Leg, Ending> {
    let mut inbox = BytesMut::with_capacity(4096);
    loop {
        stream.write_all_buf(opening.to_server()).await.map_err(ConnectError::broken)?;
        stream.flush().await.map_err(ConnectError::broken)?;
        inbox.clear();
        if stream.read_buf(&mut inbox).await.map_err(ConnectError::broken)? == 0 {
            return Err(Fault::Server("the server closed the connection before it greeted").into());
        }
        match opening.server_sent(&inbox, relay.tap())? {
            Step::Continue => {}
            Step::Upgrade => {
                stream = Box::pin(upstream.handshake(stream)).await?;
                opening.upgraded(relay.tap());
                relay.greeting_by_proxy();
            }
            Step::Done(bytes) => return Ok(Leg::with_inbox(stream, &bytes)),
        }
    }
}
