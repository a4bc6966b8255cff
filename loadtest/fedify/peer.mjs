// An ActivityPub server that is not ours: Fedify with one actor on one loopback port, steered
// over a second port. It keeps everything in memory. See loadtest/README.md.
import { createServer } from "node:http";
import {
  createFederation, generateCryptoKeyPair, InProcessMessageQueue, MemoryKvStore,
} from "@fedify/fedify";
import { Temporal } from "@js-temporal/polyfill";
import {
  Accept, Announce, Block, Create, Delete, Follow, Like, Mention, Note, Person, PUBLIC_COLLECTION, Reject,
  Undo, Update, isActor, lookupObject,
} from "@fedify/vocab";

const env = process.env;
const port = Number(env.PORT ?? 3910);
const controlPort = Number(env.CONTROL_PORT ?? port + 1);
// The name in all URLs; NAMES of names.mjs resolves the others.
const origin = `http://${env.NAME ?? `localhost:${port}`}`;
const user = "fedi";
const received = []; // the last 10,000 activities
const followers = new Map(); // actor id -> Recipient
const following = new Map(); // actor id -> "requested" | "accepted" | "rejected"
const notes = new Map(); // note id -> Note

const federation = createFederation({
  kv: new MemoryKvStore(),
  queue: new InProcessMessageQueue(),
  origin,
  allowPrivateAddress: true,
  firstKnock: env.FIRST_KNOCK ?? "rfc9421", // or draft-cavage-http-signatures-12
});

const pairs = [await generateCryptoKeyPair("RSASSA-PKCS1-v1_5"), await generateCryptoKeyPair("Ed25519")];

federation
  .setActorDispatcher("/users/{identifier}", async (ctx, identifier) => {
    if (identifier !== user) return null;
    const keys = await ctx.getActorKeyPairs(identifier);
    return new Person({
      id: ctx.getActorUri(identifier),
      preferredUsername: user,
      name: "Fedify peer",
      inbox: ctx.getInboxUri(identifier),
      outbox: ctx.getOutboxUri(identifier),
      followers: ctx.getFollowersUri(identifier),
      endpoints: null,
      url: ctx.getActorUri(identifier),
      publicKey: keys[0].cryptographicKey,
      assertionMethods: keys.map((key) => key.multikey),
    });
  })
  .setKeyPairsDispatcher((_ctx, identifier) => (identifier === user ? pairs : []));
federation.setOutboxDispatcher("/users/{identifier}/outbox", () => ({ items: [] }));
federation.setFollowersDispatcher("/users/{identifier}/followers", () => ({ items: [...followers.values()] }));
federation.setObjectDispatcher(Note, "/users/{identifier}/notes/{id}", (ctx, values) =>
  notes.get(ctx.getObjectUri(Note, values).href) ?? null);

const inbox = federation.setInboxListeners("/users/{identifier}/inbox", "/inbox");
const record = (activity) => {
  received.push({ type: activity.constructor.name, id: activity.id?.href, actor: activity.actorId?.href, object: activity.objectId?.href });
  if (received.length > 10_000) received.shift();
};
for (const type of [Create, Update, Delete, Like, Announce, Block]) inbox.on(type, (_ctx, activity) => record(activity));
inbox.on(Follow, async (ctx, follow) => {
  record(follow);
  const follower = await follow.getActor(ctx);
  if (follower?.id == null || ctx.parseUri(follow.objectId)?.identifier !== user) return;
  followers.set(follower.id.href, follower);
  const accept = new Accept({ id: new URL(`#accepts/${crypto.randomUUID()}`, ctx.getActorUri(user)), actor: follow.objectId, object: follow });
  await ctx.sendActivity({ identifier: user }, follower, accept);
});
inbox.on(Undo, async (ctx, undo) => {
  record(undo);
  if ((await undo.getObject(ctx)) instanceof Follow) followers.delete(undo.actorId?.href);
});
for (const [type, state] of [[Accept, "accepted"], [Reject, "rejected"]]) {
  inbox.on(type, (_ctx, answer) => {
    record(answer);
    if (following.has(answer.actorId?.href)) following.set(answer.actorId.href, state);
  });
}

const context = () => federation.createContext(new URL(origin));

// A handle or URI to an actor. Fedify asks for handles by https only, so that is done here.
async function find(ctx, target) {
  const handle = /^@?([^@/]+)@([^@/]+)$/.exec(target);
  if (handle !== null) {
    const resource = encodeURIComponent(`acct:${handle[1]}@${handle[2]}`);
    const answer = await fetch(`http://${handle[2]}/.well-known/webfinger?resource=${resource}`);
    if (!answer.ok) throw new Error(`WebFinger says ${answer.status} to ${target}`);
    target = (await answer.json()).links.find((link) => link.rel === "self").href;
  }
  const documentLoader = await ctx.getDocumentLoader({ identifier: user });
  const actor = await lookupObject(target, { documentLoader, contextLoader: ctx.contextLoader, allowPrivateAddress: true });
  if (!isActor(actor)) throw new Error(`${target} is no actor`);
  return actor;
}

const actions = {
  async follow({ target }) {
    const ctx = context();
    const actor = await find(ctx, target);
    following.set(actor.id.href, "requested");
    const follow = new Follow({ id: new URL(`#follows/${crypto.randomUUID()}`, ctx.getActorUri(user)), actor: ctx.getActorUri(user), object: actor.id });
    await ctx.sendActivity({ identifier: user }, actor, follow, { immediate: true });
    return { activity: follow.id.href, target: actor.id.href };
  },
  // A public note to all followers; `mention` adds one actor.
  async note({ html, mention, inReplyTo }) {
    const ctx = context();
    const mentioned = mention === undefined ? null : await find(ctx, mention);
    const values = { identifier: user, id: crypto.randomUUID() };
    const id = ctx.getObjectUri(Note, values);
    const audience = { to: PUBLIC_COLLECTION, ccs: [ctx.getFollowersUri(user), ...(mentioned ? [mentioned.id] : [])] };
    const tags = mentioned ? [new Mention({ href: mentioned.id, name: `@${mentioned.preferredUsername}` })] : [];
    const note = new Note({ id, attribution: ctx.getActorUri(user), content: html, published: Temporal.Now.instant(), url: id, tags, replyTarget: inReplyTo ? new URL(inReplyTo) : null, ...audience });
    notes.set(id.href, note);
    const create = new Create({ id: new URL("#activity", id), actor: ctx.getActorUri(user), object: note, ...audience });
    const recipients = [...followers.values(), ...(mentioned ? [mentioned] : [])];
    await ctx.sendActivity({ identifier: user }, recipients, create, { immediate: true });
    return { note: id.href, activity: create.id.href, recipients: recipients.length };
  },
  async like({ object, author }) {
    const ctx = context();
    const like = new Like({ id: new URL(`#likes/${crypto.randomUUID()}`, ctx.getActorUri(user)), actor: ctx.getActorUri(user), object: new URL(object) });
    await ctx.sendActivity({ identifier: user }, await find(ctx, author), like, { immediate: true });
    return { activity: like.id.href };
  },
};
const views = {
  received: () => received,
  followers: () => [...followers.keys()],
  following: () => Object.fromEntries(following),
  health: () => ({ actor: `${origin}/users/${user}`, handle: `@${user}@${new URL(origin).host}` }),
};

async function bytes(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

createServer(async (request, response) => {
  const body = await bytes(request);
  const url = new URL(request.url, origin);
  const init = { method: request.method, headers: request.headers, body: body.length > 0 ? body : undefined };
  const answer = await federation.fetch(new Request(url, init), { contextData: undefined });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
}).listen(port, "127.0.0.1");

createServer(async (request, response) => {
  const name = request.url.slice(1);
  const say = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  try {
    const action = request.method === "POST" ? actions[name] : views[name];
    if (action === undefined) return say(404, { error: `no ${request.method} /${name}` });
    say(200, await action(JSON.parse((await bytes(request)).toString() || "{}")));
  } catch (error) {
    say(502, { error: String(error?.message ?? error) });
  }
}).listen(controlPort, "127.0.0.1", () => console.log(JSON.stringify(views.health())));
