// Controls of the parameters of a notebook. The kernel gets one change at a time, of several the last, and answers each.
const STYLE = `
.wb-panel { font: 13px/1.35 var(--jp-ui-font-family, sans-serif); color: var(--jp-ui-font-color1, #1f2933); }
.wb-panel details { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 4px; margin: 0 0 6px; padding: 4px 10px; }
.wb-panel summary { cursor: pointer; font-weight: 600; }
.wb-panel label { display: grid; grid-template-columns: 1fr auto auto; gap: 2px 8px; align-items: center; margin: 8px 0; }
.wb-panel label > span { grid-column: 1 / -1; }
.wb-panel label > :nth-child(2):not([type=range], [type=checkbox]) { grid-column: 1 / 3; }
.wb-panel input, .wb-panel select { min-width: 0; accent-color: var(--jp-brand-color1, #0069a3); }
.wb-panel input[type=text] { width: 9em; box-sizing: border-box; }
.wb-panel .wide { width: 100%; }
.wb-panel code { display: block; overflow-wrap: anywhere; user-select: all; margin-top: 6px; }
.wb-stale { opacity: 0.35; }`;
const make = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};

function control(p, changed) {
  const text = make("input", { type: "text", value: p.text, spellcheck: false, title: p.rule });
  text.addEventListener("change", () => changed(p.name, text.value));
  const set = (value) => { text.value = value; };
  if (p.type === "bool") {
    const box = make("input", { type: "checkbox", checked: p.text === "True" });
    box.addEventListener("change", () => changed(p.name, String(box.checked)));
    return [[box], (value) => { box.checked = value === "True"; }];
  }
  if (p.type === "str" || p.names.length) {
    text.className = "wide";
    if (p.closed) {
      const select = make("select", { className: "wide" }, ...p.names.map((name) => make("option", {}, name)));
      select.value = p.text;
      select.addEventListener("change", () => changed(p.name, select.value));
      return [[select], (value) => { select.value = value; }];
    }
    if (!p.names.length) return [[text], set];
    const list = make("datalist", { id: `wb-${p.name}-${Math.random().toString(36).slice(2)}` }, ...p.names.map((value) => make("option", { value })));
    text.setAttribute("list", list.id);
    text.addEventListener("focus", () => text.select()); // else the list shows what matches the name alone
    return [[text, list], set];
  }
  if (!p.span) return [[text], set];
  const [low, high, log] = p.span;
  const place = (value) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const slider = make("input", { type: "range", min: 0, max: 1, step: 0.005, value: place(Number(p.text)) });
  slider.setAttribute("aria-label", p.name);
  slider.addEventListener("input", () => {
    const value = Number((log ? low * (high / low) ** slider.value : low + (high - low) * slider.value).toPrecision(3));
    text.value = String(p.type === "int" ? Math.round(value) : value);
    changed(p.name, text.value);
  });
  text.addEventListener("change", () => { slider.value = place(Number(text.value)); });
  return [[slider, text], (value) => { text.value = value; slider.value = place(Number(value)); }];
}

function render({ model, el }) {
  const waiting = new Map();
  let busy = false;
  const [said, line] = [make("div", {}, "Move a control: the answer and the pictures follow."), make("code")];
  const send = () => {
    if (busy || !waiting.size) return;
    const [name, text] = waiting.entries().next().value;
    waiting.delete(name);
    busy = true;
    model.send({ name, text });
  };
  model.on("msg:custom", (answer) => {
    busy = false;
    [said.textContent, line.textContent] = [answer.said, answer.command];
    send();
  });
  const changed = (name, text) => {
    waiting.set(name, text);
    send();
  };
  const groups = new Map();
  const resets = [];
  for (const p of model.get("parameters")) {
    if (!groups.has(p.group)) groups.set(p.group, make("details", { open: !groups.size }, make("summary", {}, p.group)));
    const [parts, set] = control(p, changed);
    resets.push(() => set(p.text));
    groups.get(p.group).append(make("label", {}, make("span", {}, make("b", {}, p.name), ` ${p.meaning}`), ...parts, make("small", {}, p.shown_unit)));
  }
  const reset = make("button", { type: "button", className: "jupyter-button", textContent: "Reset" });
  reset.addEventListener("click", () => {
    waiting.clear();
    for (const back of resets) back();
    changed("", "");
  });
  el.append(make("style", {}, STYLE), make("div", { className: "wb-panel" }, ...groups.values(), reset, said, line));
}
export default { render };
