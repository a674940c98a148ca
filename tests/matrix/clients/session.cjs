// What imapflow does.
// Arguments: port; plain, starttls or tls; CA file; two mailboxes; two files.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const { buffer } = require("node:stream/consumers");
const { ImapFlow } = require("imapflow");

const [port, security, ca, work, done, ...paths] = process.argv.slice(2);
const [first, second] = paths.map((path) => fs.readFileSync(path));

// It tells nobody that it is in IDLE, but its log.
const ignored = () => {};
const debug = ({ src, msg }) => {
  if (src === "s" && /^\+ /.test(msg) && client.idling) console.log("idling");
};
const client = new ImapFlow({
  host: "localhost",
  port: Number(port),
  secure: security === "tls",
  doSTARTTLS: security === "starttls",
  tls: { ca: fs.readFileSync(ca) },
  auth: { user: process.env.IMAP_USER, pass: process.env.IMAP_PASSWORD },
  logger: { trace: ignored, debug, info: ignored, warn: ignored, error: ignored },
  disableAutoIdle: true,
  socketTimeout: 120_000,
});

async function main() {
  await client.connect();
  const mailboxes = (await client.list()).map(({ path }) => path);
  console.log("mailboxes", mailboxes.sort().join(" "));
  assert((await client.mailboxOpen(work)).exists === 0);
  await client.append(work, first, ["\\Flagged"]);
  await client.append(work, second);
  await client.append(work, first, ["\\Draft"]);
  await client.noop();
  console.log("found", await client.search({ flagged: true }), await client.search({ body: "needle2" }));
  for (const [index, message] of [first, second, first].entries()) {
    const { content } = await client.download(String(index + 1), undefined, { chunkSize: 1 << 20 });
    assert(message.equals(await buffer(content)), `message ${index + 1} was altered`);
    const { source } = await client.fetchOne(String(index + 1), { source: true });
    assert(message.equals(source), `message ${index + 1} was altered`);
  }

  await client.messageCopy("1", "INBOX");
  await client.messageFlagsAdd("1", ["\\Answered"]);
  await client.messageFlagsSet("2", ["\\Seen"]);
  await client.messageDelete("3");
  await client.messageMove("2", done);
  const { messages, unseen } = await client.status(done, { messages: true, unseen: true });
  console.log("left", await client.search({ all: true }), messages, unseen);

  console.log("in INBOX", (await client.mailboxOpen("INBOX")).exists);
  const woken = new Promise((resolve) => client.once("exists", resolve));
  const idle = client.idle();
  console.assert((await woken).count === 2);
  console.log("woken");
  await client.noop();
  await idle;
  await client.logout();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
