// The page of a sweep: which result is shown, the table of runs, and the runs that charts and table bring forward together.
const runs = JSON.parse(document.getElementById("runs").textContent);
const picker = document.querySelector(".picker select");
const filter = document.querySelector(".filter input");
const SIZE = 100; // rows of a page of the table
const now = { result: picker?.value, by: null, down: false, page: 0, order: [] };
const make = element;

const round = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const large = new Intl.NumberFormat("en", { maximumSignificantDigits: 5, notation: "compact" });
const shown = (value) => {
  if (typeof value !== "number") return value ?? "";
  const size = Math.abs(value);
  return size >= 1e15 || (size && size < 1e-4) ? value.toExponential(3) : (size >= 1e7 ? large : round).format(value);
};

// "failed price<30000 chip=H100": every word somewhere in the row, every comparison true of its column.
function test(text) {
  const tests = (text.match(/(?:"[^"]*"|\S)+/g) ?? []).map((word) => {
    const [, name, sign, bare] = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.*)$/) ?? [];
    const column = runs.columns.find((c) => c.name === name);
    const value = (bare ?? word).replaceAll('"', "").toLowerCase();
    if (!column) return (i) => runs.columns.some((c) => String(c.values[i] ?? "").toLowerCase().includes(value));
    const of = (i) => (column.number ? column.values[i] : String(column.values[i] ?? "").toLowerCase());
    const to = column.number ? Number(value) : value;
    const compare = { "=": (a) => a === to, "!=": (a) => a !== to, "<": (a) => a < to, ">": (a) => a > to, "<=": (a) => a <= to, ">=": (a) => a >= to }[sign];
    return (i) => of(i) !== null && compare(of(i));
  });
  return (i) => tests.every((t) => t(i));
}

function columns() {
  const first = runs.columns.filter((c) => c.kind === "run" || c.kind === "swept");
  const rest = runs.columns.filter((c) => c.kind !== "run" && c.kind !== "swept" && c.name !== now.result);
  return [...first, ...runs.columns.filter((c) => c.name === now.result), ...rest];
}

function arrange() {
  const matches = test(filter.value);
  now.order = runs.links.map((_, i) => i).filter(matches);
  const by = runs.columns.find((c) => c.name === now.by);
  if (by) {
    const up = now.down ? -1 : 1;
    now.order.sort((i, k) => {
      const [a, b] = [by.values[i], by.values[k]];
      if (a === null || b === null) return (a === null) - (b === null) || i - k;
      return up * (by.number ? a - b : String(a).localeCompare(String(b))) || i - k;
    });
  }
  now.page = Math.min(now.page, Math.max(0, Math.ceil(now.order.length / SIZE) - 1));
}

function table() {
  const heads = columns().map((c) => {
    const head = make("th", { scope: "col", className: c.number ? "number" : "" });
    head.ariaSort = c.name === now.by ? (now.down ? "descending" : "ascending") : "none";
    const button = make("button", { type: "button", title: c.meaning || "" }, make("span", {}, c.name));
    if (c.unit) button.append(make("small", {}, c.unit));
    button.addEventListener("click", () => {
      now.down = c.name === now.by && !now.down;
      now.by = c.name;
      now.page = 0;
      update();
      [...document.querySelectorAll(".runs th button")].find((b) => b.firstChild.textContent === c.name)?.focus();
    });
    head.append(button);
    return head;
  });
  const body = now.order.slice(now.page * SIZE, (now.page + 1) * SIZE).map((i) =>
    make("tr", {}, ...columns().map((c) => {
      const value = c.values[i];
      const cell = make("td", { className: [c.number && "number", c.name === now.result && "chosen", c.name === "error" && "said"].filter(Boolean).join(" ") });
      if (c.name === "run") cell.append(runs.links[i] ? make("a", { href: runs.links[i], title: value }, value.slice(0, 10)) : value.slice(0, 10));
      else if (c.name === "status") cell.append(make("span", { className: value === "done" ? "status" : "status failed" }, value));
      else cell.append(shown(value));
      return cell;
    })),
  );
  document.querySelector(".runs table").replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
  const [from, to, all] = [now.page * SIZE, Math.min((now.page + 1) * SIZE, now.order.length), runs.links.length];
  const of = now.order.length === all ? `${all.toLocaleString("en")} runs` : `${now.order.length.toLocaleString("en")} of ${all.toLocaleString("en")} runs`;
  document.querySelector(".runs output").textContent = to - from === now.order.length ? of : `${from + 1} to ${to} of ${of}`;
  const [back, on] = document.querySelectorAll(".pages button");
  [back.disabled, on.disabled] = [!now.page, to >= now.order.length];
  document.querySelector(".pages").hidden = now.order.length <= SIZE;
}

function forward(view) {
  const keys = runs.columns.find((c) => c.name === "run").values;
  const chosen = now.order.length === keys.length ? [] : now.order.length ? now.order.map((i) => keys[i]) : ["none"];
  try {
    view.signal("shown", chosen).runAsync();
  } catch {} // a chart that doesn't tell runs apart
}

function update() {
  arrange();
  table();
}

function pick() {
  now.result = picker?.value;
  for (const view of document.querySelectorAll("[data-result]")) {
    view.hidden = view.dataset.result !== now.result;
    if (view.hidden) continue;
    for (const figure of view.querySelectorAll("figure.chart"))
      draw(figure, (chart) => {
        figure.chart = chart;
        chart.addEventListener("click", (_, item) => {
          if (!item?.datum?.row) return;
          filter.value = filter.value === item.datum.row ? "" : item.datum.row;
          filter.dispatchEvent(new Event("input"));
        });
        forward(chart);
      });
  }
  update();
}

picker?.addEventListener("change", pick);
filter.addEventListener("input", () => {
  now.page = 0;
  update();
  for (const figure of document.querySelectorAll("[data-result]:not([hidden]) figure.chart")) if (figure.chart) forward(figure.chart);
});
document.querySelectorAll(".pages button").forEach((button, i) =>
  button.addEventListener("click", () => {
    now.page += i ? 1 : -1;
    update();
  }),
);
pick();
