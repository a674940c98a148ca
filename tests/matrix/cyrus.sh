#!/bin/dash
# Runs Cyrus in its tree (see tree.sh), everything in /srv. Arguments: user, IMAP port, IMAPS port
# The password comes on stdin.
set -eu
mkdir -p /srv/cyrus /srv/spool /run/cyrus/proc /run/cyrus/lock
cat >/srv/imapd.conf <<CONF
configdirectory: /srv/cyrus
defaultpartition: default
partition-default: /srv/spool
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
imapidlepoll: 1
cyrus_user: mail
servername: localhost
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
virtdomains: off
sievedir: /srv/sieve
allowplaintext: yes
allowstarttls: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: /srv/sasldb
sasl_mech_list: PLAIN LOGIN
tls_server_cert: /srv/localhost.pem
tls_server_key: /srv/localhost-key.pem
CONF
cat >/srv/cyrus.conf <<CONF
START {
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C /srv/imapd.conf -r"
}
SERVICES {
  imap cmd="/usr/lib/cyrus/bin/imapd -C /srv/imapd.conf" listen="127.0.0.1:$2" prefork=1
  imaps cmd="/usr/lib/cyrus/bin/imapd -s -C /srv/imapd.conf" listen="127.0.0.1:$3" prefork=1
}
EVENTS {
}
CONF
saslpasswd2 -p -c -f /srv/sasldb -u localhost "$1"
chown -R mail:mail /srv /run/cyrus
# Not by exec: who becomes another user no longer ends with its parent, but this shell does.
/usr/lib/cyrus/bin/master -C /srv/imapd.conf -M /srv/cyrus.conf -p /run/cyrus/pid
