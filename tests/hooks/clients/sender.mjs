// Posts the body once in each way, and prints "way status".
import http from 'node:http';

const [hook, text] = process.argv.slice(2);
const one = new http.Agent({ keepAlive: true, maxSockets: 1 });

const posted = (body, headers, write) =>
  new Promise((resolve, reject) => {
    const request = http.request(hook, { method: 'POST', headers, agent: one }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode));
    });
    request.on('error', reject);
    write(request, body);
  });

const atOnce = (request, body) => request.end(body);
const inChunks = (request, body) => {
  request.write(body.slice(0, 9));
  request.end(body.slice(9));
};
const whenToldTo = (request, body) => {
  request.flushHeaders();
  request.once('continue', () => request.end(body));
};

const ways = {
  http: (body) => posted(body, {}, atOnce),
  chunked: (body) => posted(body, {}, inChunks),
  continue: (body) =>
    posted(body, { expect: '100-continue', 'content-length': Buffer.byteLength(body) }, whenToldTo),
  fetch: async (body) => (await fetch(hook, { method: 'POST', body })).status,
};

for (const [way, post] of Object.entries(ways)) console.log(way, await post(text.replace('WAY', way)));
one.destroy();
