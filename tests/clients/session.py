"""A session of Python's imaplib. Arguments: port, CA file or "-" for no TLS, message file."""

import imaplib
import os
import ssl
import sys
import time

port, ca, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with open(path, "rb") as file:
    message = file.read()

if ca == "-":
    imap = imaplib.IMAP4("127.0.0.1", port, timeout=20)
else:
    context = ssl.create_default_context(cafile=ca)
    imap = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=20)


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


ok(imap.login(os.environ["IMAP_USER"], os.environ["IMAP_PASSWORD"]))
assert b"UIDPLUS" in ok(imap.capability())[0].split()
ok(imap.create("Python"))
assert ok(imap.select("Python")) == [b"0"]
for flags in ("", "\\Flagged", "\\Draft"):
    ok(imap.append("Python", flags, imaplib.Time2Internaldate(time.time()), message))
ok(imap.noop())
assert ok(imap.search(None, "FLAGGED")) == [b"2"]
assert ok(imap.sort("(REVERSE DATE)", "UTF-8", "ALL"))[0].split()
ok(imap.store("1", "+FLAGS", "\\Deleted"))
for part, data in enumerate(ok(imap.fetch("1:3", "(UID BODY.PEEK[])"))[::2], 1):
    assert data[1] == message, f"message {part} was altered"
ok(imap.expunge())
ok(imap.copy("1", "INBOX"))
ok(imap.status("Python", "(MESSAGES)"))

# IDLE: Python knows it from 3.14 on, so by hand.
imap.send(b"X1 IDLE\r\n")
assert imap.readline().startswith(b"+"), "no continuation"
imap.send(b"DONE\r\n")
assert imap.readline().startswith(b"X1 OK"), "IDLE did not end"

ok(imap.close())
assert imap.logout()[0] == "BYE"
print("done")
