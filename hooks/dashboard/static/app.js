// Shows times in the reader's own zone, copies text, and reports when the server is unreachable.
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
      const text = precise.format(new Date(Number(element.dataset.exact)));
      if (element.textContent !== text) element.textContent = text;
      continue;
    }
    const at = new Date(element.dateTime);
    const seconds = (at - Date.now()) / 1000;
    const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
    const text = step ? relative.format(Math.round(seconds / SIZES[step[1]]), step[1]) : exact.format(at);
    if (element.textContent !== text) element.textContent = text;
    element.title = exact.format(at);
  }
}

function showError(text) {
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
  } else { // without TLS there is no navigator.clipboard
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    document.execCommand("copy");
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});

// Enter sends the prompt; Shift+Enter begins a new line.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches("form.imagine textarea")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

// Removes a prompt from the box once it was sent, unless it was edited meanwhile.
document.addEventListener("htmx:before:request", (event) => {
  if (event.target.matches?.("form.imagine")) event.target.dataset.sent = event.target.elements.prompt.value;
});
document.addEventListener("htmx:after:request", (event) => {
  const form = event.target;
  if (!form.matches?.("form.imagine") || !event.detail.ctx?.response?.raw.ok) return;
  if (form.elements.prompt.value === form.dataset.sent) form.elements.prompt.value = "";
});

// htmx reads hx-confirm from the form; here each button has its own question.
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  ctx.confirm ??= ctx.request.submitter?.getAttribute("hx-confirm");
});

document.addEventListener("htmx:after:swap", () => writeTimes(document));
document.addEventListener("htmx:error", (event) => {
  if (event.detail.error?.name !== "AbortError") showError(document.body.dataset.lost);
});
// For an error response that is not ours, such as a proxy's, shows a message instead of the response. Ours have their own message.
document.addEventListener("htmx:response:error", (event) => {
  const { hx } = event.detail.ctx;
  if (hx.retarget === "#toasts" || hx.redirect) return;
  hx.reswap = "none";
  showError(document.body.dataset.failed);
});
document.addEventListener("htmx:sse:error", () => document.body.classList.add("away"));
document.addEventListener("htmx:sse:after:connection", () => document.body.classList.remove("away"));

// htmx reconnects a stream that was connected before, but does not retry a first connection that failed.
document.addEventListener("htmx:finally:request", ({ target }) => {
  const address = target.getAttribute?.("hx-sse:connect");
  if (!address || target._htmx?.sse) return;
  document.body.classList.add("away");
  setTimeout(() => target.isConnected && htmx.ajax("GET", address, { source: target }), 2000 + 2000 * Math.random());
});

// Leaves the place of a picture that cannot be loaded empty.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("gone");
}, true);
for (const image of document.images) if (image.complete && !image.naturalWidth) image.classList.add("gone");

// Refreshes the panel when the state of its task has changed, unless somebody is writing in it.
function followTree() {
  const panel = document.getElementById("panel");
  const selected = document.getElementById("selected-task");
  if (!panel || !selected) return;
  const node = document.getElementById(selected.dataset.node);
  for (const one of document.querySelectorAll(".node[aria-current]")) one.removeAttribute("aria-current");
  node?.querySelector(":scope > .node")?.setAttribute("aria-current", "true");
  const state = node?.dataset.state;
  if (selected.dataset.state && state && selected.dataset.state !== state && !panel.querySelector("form.modal")?.contains(document.activeElement)) {
    selected.dataset.state = state;
    htmx.trigger(selected, "refresh");
  } else if (state) {
    selected.dataset.state = state;
  }
}

document.addEventListener("htmx:after:swap", followTree);
followTree();

// On a phone the panel is below the tree, so scroll to it.
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx?.target?.id !== "panel") return;
  const panel = document.getElementById("panel");
  if (panel.getBoundingClientRect().top > innerHeight * 0.8) panel.scrollIntoView({ block: "start", behavior: "smooth" });
});

writeTimes(document);
setInterval(() => writeTimes(document), 20000);
