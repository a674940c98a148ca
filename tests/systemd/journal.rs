//! What the journal shows, and what happens when journald hangs.

use std::time::{Duration, Instant};

use crate::{
    clients::Session,
    common::{
        bench::{
            Encryption::{Insecure, Tls},
            exchange,
        },
        dovecot::Dovecot,
        peer::{self, Server},
        secrets::{ATOM, USER},
    },
    rig::{Rig, eventually, service},
};

#[test]
fn messages_are_found_by_their_fields() {
    let server = Server::listen();
    let upstream = server.address().port();
    let rig = Rig::start(|rig| {
        service("plain", rig.at(143), Insecure, upstream)
            + &service("tls", rig.at(993), Tls, upstream)
    });
    // Two sessions of one service, and one of another, in turns.
    let mut sessions = Vec::new();
    for tag in ["X", "Y", "Z"] {
        let mut client =
            if tag == "Z" { peer::tls_client(rig.at(993)) } else { peer::client(rig.at(143)) };
        let mut server = server.accept();
        server.send("* OK ready\r\n");
        client.expect("* OK ready\r\n");
        sessions.push((tag, client, server));
    }
    for (tag, client, server) in &mut sessions {
        let command = format!("{tag}1 LOGIN {USER} {ATOM}\r\n");
        exchange(client, server, command.as_bytes(), format!("{tag}1 OK done\r\n").as_bytes());
    }
    for (tag, client, server) in &mut sessions {
        let command = format!("{tag}2 NOOP\r\n");
        let answer = format!("* 5 EXISTS\r\n{tag}2 OK done\r\n");
        exchange(client, server, command.as_bytes(), answer.as_bytes());
        client.send(format!("{tag}3 STARTTLS\r\n"));
        client.expect_line_starting(format!("{tag}3 BAD proxy: "));
    }

    rig.wait_log("client→proxy Z3 STARTTLS");
    rig.wait_log("proxy→client Z3 BAD");
    for (tag, ..) in &sessions {
        let session = rig.fields("IMAP_SESSION", &format!("IMAP_TAG={tag}1 IMAP_COMMAND=LOGIN"));
        let [session] = session.as_slice() else { panic!("{tag}: {session:?}") };
        let all = format!("IMAP_SESSION={session}");
        assert_eq!(rig.fields("IMAP_SEQ", &all), ["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(
            rig.fields("IMAP_DIRECTION", &all),
            [
                "server-to-client",
                "client-to-server",
                "server-to-client",
                "client-to-server",
                "server-to-client",
                "server-to-client",
                "client-to-proxy",
                "proxy-to-client",
            ]
        );
        let [one, two, three] = [1, 2, 3].map(|n| format!("{tag}{n}"));
        assert_eq!(
            rig.fields("IMAP_TAG", &all),
            [&one, &one, &two, &two, &three, &three].map(String::as_str)
        );
        assert_eq!(rig.fields("IMAP_COMMAND", &all), ["LOGIN", "NOOP", "STARTTLS"]);
        assert_eq!(rig.fields("IMAP_RESPONSE", &all), ["OK", "OK", "EXISTS", "OK", "BAD"]);
        assert_eq!(
            rig.fields("IMAP_TAG", &format!("{all} IMAP_DIRECTION=client-to-proxy")),
            [three.as_str()]
        );
        assert_eq!(rig.fields("IMAP_SESSION", &format!("IMAP_TAG={two}")), [session.as_str(); 2]);
    }
    let of_service =
        |name| rig.fields("IMAP_TAG", &format!("IMAP_SERVICE={name} IMAP_COMMAND=NOOP"));
    assert_eq!(of_service("plain"), ["X2", "Y2"]);
    assert_eq!(of_service("tls"), ["Z2"]);
    assert_eq!(rig.fields("IMAP_TAG", &format!("IMAP_USER={USER} IMAP_COMMAND=NOOP")).len(), 3);
}

#[test]
fn a_stalled_journal_holds_up_nobody() {
    let dovecot = Dovecot::start();
    let upstream = dovecot.address(Insecure).port();
    let rig = Rig::start(|rig| service("mail", rig.at(143), Insecure, upstream));
    let mut session = Session::open(rig.at(143), Insecure);
    session.command("SELECT INBOX");

    let journald = rig.property_of("systemd-journald", "MainPID");
    rig.ok(&format!("kill -STOP {journald}"));
    let begin = Instant::now();
    let (mut commands, mut others) = (0, 0);
    // Long enough for an administrator to notice, and more messages than the queue holds.
    while begin.elapsed() < Duration::from_secs(10) || commands < 40_000 {
        for _ in 0..100 {
            session.command("NOOP");
            commands += 1;
        }
        Session::open(rig.at(143), Insecure).logout();
        others += 1;
    }
    rig.ok(&format!("kill -CONT {journald}"));
    rig.wait_log(LOSS);
    session.logout();

    let id = &rig.fields("IMAP_SESSION", "IMAP_COMMAND=SELECT")[0];
    let of_session = |name| rig.fields(name, &format!("IMAP_SESSION={id}"));
    let last = || of_session("MESSAGE").pop().unwrap_or_default();
    eventually("the session's end", || last().starts_with("session ended"), last);

    // What is shown, and what is said to be lost, is all there was. Each of the other sessions has a
    // greeting, LOGIN and LOGOUT with their answers, and BYE.
    let of_session: usize =
        of_session("IMAP_SEQ").pop().expect("a number").parse().expect("a number");
    let shown = rig.fields("IMAP_SEQ", "IMAP_SERVICE=mail").len();
    assert_eq!(shown + lost(&rig.log()), of_session + 6 * others);
}

/// What the log says when the journal did not keep up.
const LOSS: &str = "were not shown: the journal (or stderr) did not keep up";

/// How many messages the log says are lost.
fn lost(log: &str) -> usize {
    let count =
        |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<usize>().ok());
    log.lines().filter(|line| line.ends_with(LOSS)).map(|line| count(line).expect("a number")).sum()
}
