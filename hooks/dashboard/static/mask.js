// Lets people paint the part of a picture that may change: white on black, in the picture's own size, as upstreams require.
"use strict";

function easel(field) {
  const picture = field.querySelector("img");
  const shown = field.querySelector("canvas");
  const hidden = field.closest("form").elements.mask;
  const brush = field.querySelector("[data-brush]");
  const strokes = [];
  const cursor = { x: 0.5, y: 0.5 };
  let stroke = null;

  function draw() {
    shown.width = picture.naturalWidth || 1024;
    shown.height = picture.naturalHeight || 1024;
    const context = shown.getContext("2d");
    context.fillStyle = context.strokeStyle = "#ff2d78";
    paint(context);
    if (document.activeElement === shown && stroke === null) {
      context.lineWidth = Math.max(2, shown.width / 200);
      context.beginPath();
      context.arc(cursor.x * shown.width, cursor.y * shown.height, radius() * shown.width, 0, 2 * Math.PI);
      context.stroke();
    }
    if (stroke !== null) return; // moving the canvas, and slow work, must wait until the brush is lifted
    hidden.value = strokes.length ? mask() : "";
    if (strokes.length) field.querySelector("[data-empty]").hidden = true;
  }

  function paint(context) {
    const { width, height } = context.canvas;
    context.lineCap = context.lineJoin = "round";
    for (const one of strokes) {
      if (one.all) {
        context.fillRect(0, 0, width, height);
        continue;
      }
      context.lineWidth = one.radius * 2 * width;
      context.beginPath();
      const [first, ...others] = one.points;
      context.moveTo(first.x * width, first.y * height);
      for (const point of others.length ? others : [first]) context.lineTo(point.x * width + 0.01, point.y * height);
      context.stroke();
    }
  }

  function mask() {
    const canvas = document.createElement("canvas");
    canvas.width = shown.width;
    canvas.height = shown.height;
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = context.strokeStyle = "#fff";
    paint(context);
    // The canvas antialiases edges, and upstreams would change grey parts only half.
    const image = context.getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < image.data.length; at += 4) image.data.fill(image.data[at] < 128 ? 0 : 255, at, at + 3);
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png");
  }

  const radius = () => Number(brush.value) / 200;
  const place = (event) => {
    const box = shown.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  };

  shown.addEventListener("pointerdown", (event) => {
    shown.setPointerCapture(event.pointerId);
    stroke = { radius: radius(), points: [place(event)] };
    strokes.push(stroke);
    draw();
  });
  shown.addEventListener("pointermove", (event) => {
    if (stroke === null) return;
    stroke.points.push(place(event));
    draw();
  });
  const lift = () => {
    if (stroke === null) return;
    stroke = null;
    draw();
  };
  shown.addEventListener("pointerup", lift);
  shown.addEventListener("pointercancel", lift);
  shown.addEventListener("focus", draw);
  shown.addEventListener("blur", draw);
  shown.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    if (step) {
      cursor.x = Math.min(1, Math.max(0, cursor.x + step[0] * 0.03));
      cursor.y = Math.min(1, Math.max(0, cursor.y + step[1] * 0.03));
    } else {
      strokes.push({ radius: radius(), points: [{ ...cursor }] });
    }
    draw();
  });
  const clicked = (name, what) => field.querySelector(`[data-${name}]`).addEventListener("click", () => { what(); draw(); });
  clicked("all", () => strokes.push({ all: true }));
  clicked("undo", () => strokes.pop());
  clicked("clear", () => strokes.splice(0));
  field.closest("form").addEventListener("submit", (event) => {
    if (strokes.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    field.querySelector("[data-empty]").hidden = false;
    shown.focus();
  }, true);
  picture.addEventListener("load", draw);
  if (picture.complete) draw();
}

function findEasels() {
  for (const field of document.querySelectorAll("[data-mask]:not([data-ready])")) {
    field.dataset.ready = "";
    easel(field);
  }
}

document.addEventListener("htmx:after:swap", findEasels);
findEasels();
