//! New certificates for listeners that run.

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::{
    clients::{Session, shown_certificate},
    common::{
        bench::Encryption::{Insecure, Tls},
        certs::{CHAIN, KEY},
        dovecot::Dovecot,
    },
    rig::{Rig, eventually, service},
};

/// A certificate and its key, both in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// For `localhost`, by nobody else.
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    /// Puts it where a service expects it.
    pub fn put(&self, rig: &Rig) {
        rig.write(&format!("/etc/imap-proxy/tls/{CHAIN}"), &self.certificate);
        rig.write(&format!("/etc/imap-proxy/tls/{KEY}"), &self.key);
    }

    /// Waits until new clients see it.
    pub fn wait_shown(&self, address: std::net::SocketAddr) {
        let shown = || shown_certificate(address);
        let same = || shown().split_whitespace().eq(self.certificate.split_whitespace());
        eventually("the new certificate", same, shown);
    }
}

/// As certbot does it: it runs the hook, and needs nothing else.
#[test]
fn certbot_renews() {
    let dovecot = Dovecot::start();
    let upstream = dovecot.address(Insecure).port();
    let rig = Rig::start(|rig| service("mail", rig.at(993), Tls, upstream));
    let mut old = Session::open(rig.at(993), Tls);
    old.idle();

    let lineage = "/etc/letsencrypt/live/imap.example.org";
    let renew = |pair: &Pair| {
        rig.write(&format!("{lineage}/fullchain.pem"), &pair.certificate);
        rig.write(&format!("{lineage}/privkey.pem"), &pair.key);
        rig.ok(&format!("RENEWED_LINEAGE={lineage} /usr/lib/imap-proxy/certbot-deploy-hook"));
    };
    let first = Pair::new();
    renew(&first);
    let config = service("mail", rig.at(993), Tls, upstream)
        .replace(CHAIN, "imap.example.org/fullchain.pem")
        .replace(KEY, "imap.example.org/privkey.pem");
    rig.reload(&config);
    first.wait_shown(rig.at(993));
    for _ in 0..3 {
        let next = Pair::new();
        renew(&next);
        next.wait_shown(rig.at(993));
    }
    let modes = rig.ok(
        "cd /etc/imap-proxy/tls/imap.example.org && stat --format '%a %G' $(realpath privkey.pem)",
    );
    assert_eq!(modes, "640 imap-proxy\n");

    old.0.send("DONE\r\n");
    old.finish();
    old.logout();
    let log = rig.log();
    assert!(!log.contains("not reloaded"), "{log}");
}
