// Replaces the picture of each chart in sight by the interactive chart; the picture stays where that fails.
// A dataset may be kept by column, each block of values once a page: {field: [numbers of its blocks]}.
const kept = JSON.parse(document.getElementById("columns")?.textContent ?? "[]");
const rows = (fields) => {
  const columns = Object.entries(fields).map(([name, blocks]) => [name, blocks.flatMap((number) => kept[number])]);
  return columns[0][1].map((_, i) => Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
};
const element = (tag, attributes, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};
const joined = (text) => [text ?? []].flat().join(" ");

// The largest dataset as CSV.
function csv(spec) {
  const data = Object.values(spec.datasets ?? {}).filter(Array.isArray).sort((a, b) => b.length - a.length)[0] ?? [];
  const names = [...new Set(data.flatMap(Object.keys))];
  const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : (value ?? ""));
  return [names, ...data.map((row) => names.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\r\n");
}

function draw(figure, drawn) {
  if (figure.dataset.drawn) return;
  figure.dataset.drawn = "yes";
  const picture = figure.querySelector("img");
  const short = figure.clientWidth < 600 ? Math.max(0, Number(picture?.getAttribute("width") ?? 0) - figure.clientWidth) : 0; // px missing on a phone
  const narrower = (key, value) => (short && key === "legend" && value?.columns > 2 ? { ...value, columns: 2 } : value);
  const spec = JSON.parse(figure.querySelector("script").textContent, narrower);
  for (const [name, data] of Object.entries(spec.datasets ?? {})) if (!Array.isArray(data) && Object.values(data).every(Array.isArray)) spec.datasets[name] = rows(data);
  delete spec.$schema; // the mode says what it is
  if (spec.title && !figure.querySelector("figcaption")) {
    figure.prepend(element("figcaption", {}, element("p", { className: "finding" }, joined(spec.title.text)), element("p", {}, joined(spec.title.subtitle))));
    delete spec.title;
  }
  if (short && typeof spec.width === "number") spec.width = Math.max(160, spec.width - short);
  const place = document.createElement("div");
  figure.append(place);
  vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", ast: true, actions: false }).then(
    (result) => {
      const name = (figure.querySelector("figcaption .finding, figcaption h2")?.textContent ?? "chart").replace(/[^\w]+/g, "_").slice(0, 60);
      const save = (text, href, end) => element("a", { href, download: `${name}.${end}` }, text);
      const tools = element("p", { className: "tools" }, save("CSV", URL.createObjectURL(new Blob([csv(spec)], { type: "text/csv" })), "csv"));
      if (picture) tools.append(save("PNG", picture.src, "png"));
      figure.append(tools);
      for (const silent of place.querySelectorAll('g[role="graphics-symbol"][aria-roledescription$="container"]:not([aria-label])')) silent.setAttribute("aria-hidden", "true"); // without words: the chart has them
      picture?.remove();
      drawn?.(result.view);
    },
    () => place.remove(),
  );
}
for (const figure of document.querySelectorAll("figure.chart")) if (!figure.closest("[hidden], [data-result]")) draw(figure);
