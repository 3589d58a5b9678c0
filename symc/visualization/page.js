"use strict";
// Looks around in a drawing: pan and zoom, search, details of a box. All text is set as text, never as HTML.
(() => {
  const boxes = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("canvas");
  const svg = canvas.querySelector("svg");
  const at = (id) => document.getElementById(id);
  const size = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
  const edges = [...svg.querySelectorAll(".edge")];
  const shapes = boxes.map((_, k) => at(`box-${k}`));
  const texts = boxes.map((b) => [b.title, ...b.lines].join("\n").toLowerCase());
  const MIN_SCALE = 0.02, MAX_SCALE = 6, READABLE = 0.72, STEP = 1.25, PAN = 90;

  // -- the view: (x, y) of the drawing stands in the upper left corner, magnified by scale ---------------------------
  const view = { x: 0, y: 0, scale: 1 };
  const show = () => {
    const { clientWidth, clientHeight } = canvas;
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${clientWidth / view.scale} ${clientHeight / view.scale}`);
  };
  const zoom = (factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) => {
    const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, view.scale * factor));
    view.x += px / view.scale - px / scale;
    view.y += py / view.scale - py / scale;
    view.scale = scale;
    show();
  };
  const pan = (dx, dy) => { view.x += dx / view.scale; view.y += dy / view.scale; show(); };
  const place = (scale, y) => {
    view.scale = scale;
    view.x = (size.width - canvas.clientWidth / scale) / 2;
    view.y = y;
    show();
  };
  const home = () => {
    const wide = canvas.clientWidth / size.width;
    place(Math.min(1, Math.max(READABLE, wide)), 0);
    if (size.width * view.scale > canvas.clientWidth && shapes.length) {
      const first = shapes[0].getBBox();  // too wide to be readable as a whole: the first box in the middle
      view.x = first.x + first.width / 2 - canvas.clientWidth / view.scale / 2;
      show();
    }
  };
  const whole = () => {
    const scale = Math.min(1, canvas.clientWidth / size.width, canvas.clientHeight / size.height);
    place(scale, (size.height - canvas.clientHeight / scale) / 2);
  };
  const centre = (k) => {
    const box = shapes[k].getBBox();
    const panel = at("panel").getBoundingClientRect();  // of no width while hidden
    const free = panel.width * 2 < canvas.clientWidth ? canvas.clientWidth - panel.width : canvas.clientWidth;
    view.scale = Math.max(view.scale, READABLE);
    view.x = box.x + box.width / 2 - free / view.scale / 2;
    view.y = box.y + box.height / 2 - canvas.clientHeight / view.scale / 2;
    show();
  };

  // -- details of a box ----------------------------------------------------------------------------------------------
  const filled = (list, items) => list.replaceChildren(...items);
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const links = (id, numbers) => {
    at(`${id}-title`).hidden = numbers.length === 0;
    filled(at(id), numbers.map((k) => {
      const button = element("button", [boxes[k].title, ...boxes[k].lines.slice(0, 1)].join(", "));
      button.addEventListener("click", () => { choose(k); centre(k); });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  };
  const forget = () => {
    svg.querySelectorAll(".chosen, .in, .out").forEach((e) => e.classList.remove("chosen", "in", "out"));
    at("panel").hidden = true;
  };
  const mark = (edge, kind) => {
    for (let e = edge; e; e = e.dataset.via === undefined ? null : edges[e.dataset.via]) e.classList.add(kind);
  };
  const choose = (k) => {
    forget();
    const ends = (mine, other) => {
      const found = edges.filter((e) => e.dataset[mine] === String(k));
      found.forEach((e) => mark(e, mine === "head" ? "in" : "out"));
      return [...new Set(found.map((e) => Number(e.dataset[other])))];
    };
    const reads = ends("head", "tail"), feeds = ends("tail", "head");
    shapes[k].classList.add("chosen");
    at("name").textContent = boxes[k].title;
    filled(at("lines"), boxes[k].lines.map((line) => element("li", line)));
    filled(at("details"), boxes[k].details.flatMap(([what, value]) => [element("dt", what), element("dd", value)]));
    links("reads", reads);
    links("feeds", feeds);
    at("panel").style.setProperty("--kind", boxes[k].edge);
    at("panel").scrollTop = 0;
    at("panel").hidden = false;
  };

  // -- search --------------------------------------------------------------------------------------------------------
  let matches = [], current = -1;
  const search = () => {
    const wanted = at("search").value.trim().toLowerCase();
    shapes.forEach((s) => s.classList.remove("match"));
    matches = wanted ? texts.flatMap((text, k) => (text.includes(wanted) ? [k] : [])) : [];
    matches.forEach((k) => shapes[k].classList.add("match"));
    current = -1;
    at("found").textContent = wanted ? (matches.length ? `${matches.length} found` : "none") : "";
  };
  const next = (step) => {
    if (!matches.length) return;
    current = current < 0 && step < 0 ? matches.length - 1 : (current + step + matches.length) % matches.length;
    at("found").textContent = `${current + 1} of ${matches.length}`;
    choose(matches[current]);
    centre(matches[current]);
  };
  at("search").addEventListener("input", search);
  at("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") { at("search").value = ""; search(); at("search").blur(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // -- mouse, touch, keys --------------------------------------------------------------------------------------------
  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) moved = 0;
    pointers.set(event.pointerId, event);
  });
  window.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
    moved += Math.abs(dx) + Math.abs(dy);
    const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
    if (other) {
      const distance = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
      zoom(distance(event) / distance(before), other.clientX, other.clientY);
    } else {
      canvas.classList.add("dragged");
      pan(-dx, -dy);
    }
    pointers.set(event.pointerId, event);
  });
  const released = (event) => { pointers.delete(event.pointerId); canvas.classList.remove("dragged"); };
  window.addEventListener("pointerup", released);
  window.addEventListener("pointercancel", released);
  canvas.addEventListener("click", (event) => {
    if (moved > 6) return;  // the end of a drag
    const box = event.target.closest(".box");
    if (box) choose(Number(box.id.slice(4)));
    else forget();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * pixels * 0.0022), event.clientX, event.clientY);
    else if (event.shiftKey) pan(event.deltaY * pixels, 0);
    else pan(event.deltaX * pixels, event.deltaY * pixels);
  }, { passive: false });
  const keys = {
    "/": () => { at("search").focus(); at("search").select(); },
    "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP),
    0: whole, Home: home, End: () => { view.y = size.height - canvas.clientHeight / view.scale; show(); },
    Escape: forget,
    Enter: () => next(1),
    ArrowUp: () => pan(0, -PAN), ArrowDown: () => pan(0, PAN), ArrowLeft: () => pan(-PAN, 0), ArrowRight: () => pan(PAN, 0),
    PageUp: () => pan(0, -0.9 * canvas.clientHeight), PageDown: () => pan(0, 0.9 * canvas.clientHeight),
    " ": () => pan(0, 0.9 * canvas.clientHeight),
  };
  window.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Object.hasOwn(keys, event.key)) { event.preventDefault(); keys[event.key](); }
  });
  const buttons = { out: () => zoom(1 / STEP), in: () => zoom(STEP), fit: whole, home, close: forget };
  Object.entries(buttons).forEach(([id, action]) => at(id).addEventListener("click", (event) => {
    action();
    event.currentTarget.blur();  // so that keys work again
  }));
  window.addEventListener("resize", show);
  home();
})();
