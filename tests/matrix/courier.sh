#!/bin/dash
# Runs Courier in its tree (see tree.sh), everything in /srv, which is /etc/courier there, too.
# Arguments: user, IMAP port, IMAPS port. The password comes on stdin.
set -eu
mkdir -p /run/courier/authdaemon /srv/home
maildirmake.courier /srv/home/Maildir
chown -R mail:mail /srv/home
cat /srv/localhost.pem /srv/localhost-key.pem >/srv/both.pem

umask 077
printf '%s\tuid=8|gid=8|home=/srv/home|imappw=%s\n' "$1" "$(userdbpw -md5)" >/srv/userdb
makeuserdb
printf '%s\n' 'authmodulelist="authuserdb"' daemons=2 >/srv/authdaemonrc
authmodulelist=authuserdb authdaemonvar=/run/courier/authdaemon \
  /usr/lib/courier/courier-authlib/authdaemond &
umask 022

# What Debian's config says, but with all the extensions that Courier has, and a short wait in IDLE,
# for it looks by itself when there is no File Alteration Monitor.
export IMAP_CAPABILITY='IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE'
export IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY AUTH=PLAIN"
export IMAP_KEYWORDS=1 IMAP_ACL=1 IMAP_USELOCKS=1 IMAP_ENHANCEDIDLE=0 IMAP_IDLE_TIMEOUT=1
export IMAP_CHECK_ALL_FOLDERS=0 IMAP_OBSOLETE_CLIENT=0 IMAP_EMPTYTRASH='' IMAP_TRASHFOLDERNAME=Trash
export IMAP_MAILBOX_SANITY_CHECK=1 IMAP_UMASK=022 HEADERFROM=X-IMAP-Sender
export TLS_CERTFILE=/srv/both.pem TLS_VERIFYPEER=NONE COURIERTLS=/usr/bin/couriertls

# Arguments: port, and what takes the connection
serve() {
  port=$1
  shift
  couriertcpd -address=127.0.0.1 -maxprocs=40 -maxperip=40 -nodnslookup "$port" \
    "$@" /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
}
IMAP_TLS=1 serve "$3" "$COURIERTLS" -server -tcpd -user=courier &
IMAP_STARTTLS=YES serve "$2"
