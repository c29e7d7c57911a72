// What pages do by themselves: times in the reader's own zone, buttons that copy, and a word when the server is away.
"use strict";

const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const precise = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const STEPS = [[60, "second"], [3600, "minute"], [86400, "hour"], [604800, "day"]];
const SIZES = { second: 1, minute: 60, hour: 3600, day: 86400 };

function writeTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    if (element.dataset.exact) {
      const said = precise.format(new Date(Number(element.dataset.exact)));
      if (element.textContent !== said) element.textContent = said;
      continue;
    }
    const at = new Date(element.dateTime);
    const seconds = (at - Date.now()) / 1000;
    const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
    const said = step ? relative.format(Math.round(seconds / SIZES[step[1]]), step[1]) : exact.format(at);
    if (element.textContent !== said) element.textContent = said;
    element.title = exact.format(at);
  }
}

function tell(text) {
  const toast = document.createElement("p");
  toast.className = "toast error";
  toast.setAttribute("role", "alert");
  toast.textContent = text;
  document.getElementById("toasts").replaceChildren(toast);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(button.dataset.copy);
  } else { // a page that came without TLS has none
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    document.execCommand("copy");
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});

// The one who writes a prompt sends it with Enter; Shift+Enter begins a new line.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches("form.imagine textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

// What was sent goes from the box; what was written there meanwhile stays.
document.addEventListener("htmx:before:request", (event) => {
  if (event.target.matches?.("form.imagine")) event.target.dataset.sent = event.target.elements.prompt.value;
});
document.addEventListener("htmx:after:request", (event) => {
  const form = event.target;
  if (!form.matches?.("form.imagine") || !event.detail.ctx?.response?.raw.ok) return;
  if (form.elements.prompt.value === form.dataset.sent) form.elements.prompt.value = "";
});

// htmx asks what the form says; here each button has its own question.
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  ctx.confirm ??= ctx.request.submitter?.getAttribute("hx-confirm");
});

document.addEventListener("htmx:after:swap", () => writeTimes(document));
document.addEventListener("htmx:error", (event) => {
  if (event.detail.error?.name !== "AbortError") tell(document.body.dataset.lost);
});
// An answer that is not ours, such as a proxy's, is told and not shown; one of ours brings its own line.
document.addEventListener("htmx:response:error", (event) => {
  const { hx } = event.detail.ctx;
  if (hx.retarget === "#toasts" || hx.redirect) return;
  hx.reswap = "none";
  tell(document.body.dataset.failed);
});
document.addEventListener("htmx:sse:error", () => document.body.classList.add("away"));
document.addEventListener("htmx:sse:after:connection", () => document.body.classList.remove("away"));

// htmx connects again what was connected once; a first connection that fails it leaves.
document.addEventListener("htmx:finally:request", ({ target }) => {
  const address = target.getAttribute?.("hx-sse:connect");
  if (!address || target._htmx?.sse) return;
  document.body.classList.add("away");
  setTimeout(() => target.isConnected && htmx.ajax("GET", address, { source: target }), 2000 + 2000 * Math.random());
});

// A picture that cannot be had leaves its place empty.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("gone");
}, true);
for (const image of document.images) if (image.complete && !image.naturalWidth) image.classList.add("gone");

// The panel is asked for anew when what it shows has moved on, unless somebody is writing in it.
function followTree() {
  const panel = document.getElementById("panel");
  const seen = document.getElementById("looked-at");
  if (!panel || !seen) return;
  const node = document.getElementById(seen.dataset.node);
  for (const one of document.querySelectorAll(".node[aria-current]")) one.removeAttribute("aria-current");
  node?.querySelector(":scope > .node")?.setAttribute("aria-current", "true");
  const state = node?.dataset.state;
  if (seen.dataset.state && state && seen.dataset.state !== state && !panel.querySelector("form.modal")?.contains(document.activeElement)) {
    seen.dataset.state = state;
    htmx.trigger(seen, "refresh");
  } else if (state) {
    seen.dataset.state = state;
  }
}

document.addEventListener("htmx:after:swap", followTree);
followTree();

// On a phone the panel stands under the tree.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx?.target?.id !== "panel") return;
  const panel = document.getElementById("panel");
  if (panel.getBoundingClientRect().top > innerHeight * 0.8) panel.scrollIntoView({ block: "start", behavior: "smooth" });
});

writeTimes(document);
setInterval(() => writeTimes(document), 20000);
