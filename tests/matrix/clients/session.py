"""What Python's imaplib does.

Arguments: port; plain, starttls or tls; CA file; two mailboxes; two files.
"""

import imaplib
import os
import ssl
import sys
import time

port, security, ca, work, done = int(sys.argv[1]), *sys.argv[2:6]
messages = [open(path, "rb").read() for path in sys.argv[6:8]]

context = ssl.create_default_context(cafile=ca)
if security != "tls":
    imap = imaplib.IMAP4("127.0.0.1", port, timeout=120)
else:
    imap = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=120)


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


if security == "starttls":
    ok(imap.starttls(context))
ok(imap.login(os.environ["IMAP_USER"], os.environ["IMAP_PASSWORD"]))
capabilities = ok(imap.capability())[0].split()
assert b"UIDPLUS" in capabilities and b"IDLE" in capabilities, capabilities
assert ok(imap.select(work)) == [b"0"]
first, second = messages
for flags, message in ((r"\Flagged", first), ("", second), (r"\Draft", first)):
    ok(imap.append(work, flags, imaplib.Time2Internaldate(time.time()), message))
ok(imap.noop())
print("found", ok(imap.search(None, "FLAGGED")), ok(imap.search("UTF-8", "TEXT", "needle2")))
print("sorted", ok(imap.sort("(REVERSE DATE)", "UTF-8", "ALL")))
for number, message in enumerate((first, second, first), 1):
    data = ok(imap.fetch(str(number), "(UID BODY.PEEK[])"))
    assert data[0][1] == message, f"message {number} was altered"

ok(imap.copy("1", "INBOX"))
ok(imap.store("1", "+FLAGS", r"(\Answered)"))
ok(imap.store("2", "FLAGS.SILENT", r"(\Seen)"))
ok(imap.store("3", "+FLAGS", r"\Deleted"))
if b"MOVE" in capabilities:
    imaplib.Commands["MOVE"] = ("SELECTED",)
    ok(imap._simple_command("MOVE", "2", done))
else:
    ok(imap.copy("2", done))
    ok(imap.store("2", "+FLAGS", r"\Deleted"))
ok(imap.expunge())
print("left", ok(imap.search(None, "ALL")), ok(imap.status(done, "(MESSAGES UNSEEN)")))

# Python knows IDLE from 3.14 on, so by hand.
print("in INBOX", ok(imap.select("INBOX")))
imap.send(b"X1 IDLE\r\n")
line = imap.readline()
while line.startswith(b"* "):
    line = imap.readline()
assert line.startswith(b"+"), line
print("idling", flush=True)
while not imap.readline().startswith(b"* 2 EXISTS"):
    pass
print("woken")
imap.send(b"DONE\r\n")
while not (line := imap.readline()).startswith(b"X1 "):
    assert line.startswith(b"* "), line
assert line.startswith(b"X1 OK"), line

ok(imap.close())
assert imap.logout()[0] == "BYE"
print("done")
