// The rival of the delivery benchmark: Fedify sends Creates to many shared inboxes, its queue in
// the process. POST /send {"hosts", "suffix", "activities", "text"} queues them and answers.
import { createServer } from "node:http";
import { createFederation, generateCryptoKeyPair, InProcessMessageQueue, MemoryKvStore } from "@fedify/fedify";
import { Create, Note, Person, PUBLIC_COLLECTION } from "@fedify/vocab";

const port = Number(process.env.PORT ?? 3910);
const origin = `http://${process.env.NAME ?? `localhost:${port}`}`;
const user = "fedi";
const federation = createFederation({
  kv: new MemoryKvStore(), queue: new InProcessMessageQueue(), origin, allowPrivateAddress: true,
  firstKnock: "draft-cavage-http-signatures-12", // what the hosts take: one request a delivery
});
const pairs = [await generateCryptoKeyPair("RSASSA-PKCS1-v1_5")];
federation
  .setActorDispatcher("/users/{identifier}", async (ctx, identifier) => {
    if (identifier !== user) return null;
    const keys = await ctx.getActorKeyPairs(identifier);
    return new Person({
      id: ctx.getActorUri(identifier), preferredUsername: user, inbox: ctx.getInboxUri(identifier),
      publicKey: keys[0].cryptographicKey,
    });
  })
  .setKeyPairsDispatcher((_ctx, identifier) => (identifier === user ? pairs : []));
federation.setInboxListeners("/users/{identifier}/inbox", "/inbox");

let number = 0;
async function send({ hosts, suffix, activities, text }) {
  const ctx = federation.createContext(new URL(origin));
  const recipients = Array.from({ length: hosts }, (_, host) => ({
    id: new URL(`http://h${host}.${suffix}/users/u0`),
    inboxId: new URL(`http://h${host}.${suffix}/users/u0/inbox`),
    endpoints: { sharedInbox: new URL(`http://h${host}.${suffix}/inbox`) },
  }));
  for (let activity = 0; activity < activities; activity++) {
    const id = new URL(`${origin}/notes/${Date.now()}-${++number}`);
    const values = { tos: [PUBLIC_COLLECTION], ccs: [new URL(`${ctx.getActorUri(user)}/followers`)] };
    const object = new Note({ id, attribution: ctx.getActorUri(user), content: `<p>${text}</p>`, ...values });
    const create = new Create({ id: new URL("#activity", id), actor: ctx.getActorUri(user), object, ...values });
    await ctx.sendActivity({ identifier: user }, recipients, create, { preferSharedInbox: true });
  }
}

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const url = new URL(request.url, origin);
  if (url.pathname === "/health") return response.end("ok");
  if (url.pathname === "/send") {
    try {
      await send(JSON.parse(Buffer.concat(parts)));
      return response.end("queued");
    } catch (error) {
      response.statusCode = 500;
      return response.end(String(error));
    }
  }
  const answer = await federation.fetch(new Request(url, { method: request.method, headers: request.headers }), { contextData: undefined });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
}).listen(port, "127.0.0.1");
