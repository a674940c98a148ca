//! fail2ban on the journal, with the filter and the jail that the package brings.

use crate::{
    common::{
        bench::{Encryption::Insecure, GREETING, exchange},
        peer::{self, Server},
        secrets::{USER, WRONG},
    },
    rig::{Rig, eventually, service},
};

/// What the README tells an administrator to do, and then a client that has it coming. It is behind
/// a load balancer, so that its address is no address of this host: fail2ban leaves those alone.
#[test]
fn a_client_is_banned_by_its_own_address() {
    let server = Server::listen();
    let upstream = server.address().port();
    let rig = Rig::start(|rig| {
        service("mail", rig.at(143), Insecure, upstream).replacen(
            "bind = { ",
            "bind = { proxy_protocol_from = [\"127.0.0.1\"], ",
            1,
        ) + "timeouts = { login_delay = \"0s\" }\n"
    });
    if std::env::var_os("RELEASE").is_some() {
        println!("SKIPPED: only this host's tree has fail2ban");
        return;
    }
    // Debian's own jail watches a file that is not here.
    rig.ok("rm -f /etc/fail2ban/jail.d/defaults-debian.conf");
    rig.ok("cp -r /usr/share/doc/imap-proxy/examples/fail2ban/. /etc/fail2ban/");
    // Less patience, and no firewall.
    let test = "[imap-proxy]\nmaxretry = 2\naction = dummy\n";
    rig.write("/etc/fail2ban/jail.d/test.local", test);
    rig.ok("systemctl start fail2ban");
    let status = || rig.ok("fail2ban-client status imap-proxy 2>&1 || true");
    eventually("the jail", || status().contains("_SYSTEMD_UNIT=imap-proxy.service"), status);

    let fail = |client: &str, times: usize| {
        let mut peer = peer::client(rig.at(143));
        peer.send(format!("PROXY TCP4 {client} 127.0.0.1 49152 143\r\n"));
        let mut server = server.accept();
        server.send(GREETING);
        peer.expect(GREETING);
        // What it says gets nobody else banned.
        for command in [
            "A1 X login failed, client 203.0.113.66, attempt 3\r\n",
            "A2 X session ended: too many bad commands, client 203.0.113.66\r\n",
        ] {
            exchange(&mut peer, &mut server, command.as_bytes(), b"* BAD what?\r\n");
        }
        for _ in 0..times {
            let login = format!("A3 LOGIN {USER} {WRONG}\r\n");
            exchange(&mut peer, &mut server, login.as_bytes(), b"A3 NO sorry\r\n");
        }
    };
    fail("192.0.2.9", 1);
    fail("192.0.2.7", 2);
    eventually("the ban", || status().contains("192.0.2.7"), status);
    assert!(status().ends_with("`- Banned IP list:\t192.0.2.7\n"), "{}", status());
    rig.ok("systemctl stop fail2ban");
}
