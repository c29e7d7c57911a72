// Drives the WeChat bot's MJApi, unchanged, with a stand-in for the chat. CLIENT names the bot's folder, PORT the port of its hook.
// Commands come as lines of JSON on stdin; what the chat is told, and what submits are answered, goes to stdout as lines after "» ".

import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const tell = (what: object) => console.log(`» ${JSON.stringify(what)}`);

const { MJApi } = await import(pathToFileURL(join(process.env.CLIENT!, "src/mj-api.ts")).href);

const room = {
  say: async (what: any) => tell({ said: typeof what === "string" ? what : "", picture: what.remoteUrl ?? "" }),
};
const chat = { Room: { find: async ({ topic }: { topic: string }) => (topic === "room" ? room : undefined) } };

const api = new MJApi(chat as any);
api.listenerPort = Number(process.env.PORT);

for await (const line of createInterface({ input: process.stdin })) {
  const { path, body } = JSON.parse(line);
  if (path === "listen") {
    await api.listenerNotify();
    tell({ answer: "listening" });
    continue;
  }
  // As its bot.ts does: a command in the chat becomes a submit, and a refusal is said.
  const answer = await api.submitTask(path, body);
  if (answer.code !== 1) await room.say(`${answer.code}: ${answer.description}`);
  tell({ answer });
}
process.exit(0);
