// Drives lobe-midjourney-webui's service and its route, unchanged: what the page asks of its own server is answered by the route's
// handlers. CLIENT names its folder, URL and KEY what a user writes into its settings. Commands come as lines of JSON on stdin, a
// method of the service and its argument; what it returns goes to stdout as lines after "» ".

import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const tell = (what: object) => console.log(`» ${JSON.stringify(what)}`);
const inside = (path: string) => import(pathToFileURL(join(process.env.CLIENT!, path)).href);

const route = await inside("src/app/api/midjourney/route.ts");
const { midjourneyService } = await inside("src/services/midjourney.ts");
const { useGlobalStore } = await inside("src/store/global/index.ts");

const elsewhere = globalThis.fetch;
globalThis.fetch = async (where: any, how: any) => {
  if (typeof where !== "string" || !where.startsWith("/")) return elsewhere(where, how);
  const request = new Request(`http://page.invalid${where}`, how);
  return how.method === "POST" ? route.POST(request) : route.GET(request);
};

useGlobalStore.setState({
  settings: { MIDJOURNEY_PROXY_URL: process.env.URL, MIDJOURNEY_PROXY_API_SECRET: process.env.KEY },
});

for await (const line of createInterface({ input: process.stdin })) {
  const { method, argument } = JSON.parse(line);
  try {
    tell({ answer: (await midjourneyService[method](argument)) ?? null, error: useGlobalStore.getState().requestError ?? null });
  } catch (error) {
    tell({ answer: null, error: String(error) });
  }
}
process.exit(0);
