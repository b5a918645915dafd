// Replaces the picture of each chart in sight by the interactive chart; the picture stays where that fails.
// A dataset may be kept by column, each block of values once a page: {field: [numbers of its blocks]}.
const kept = JSON.parse(document.getElementById("columns")?.textContent ?? "[]");
const rows = (fields) => {
  const columns = Object.entries(fields).map(([name, blocks]) => [name, blocks.flatMap((number) => kept[number])]);
  return columns[0][1].map((_, i) => Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
};
function draw(figure, drawn) {
  if (figure.dataset.drawn) return;
  figure.dataset.drawn = "yes";
  const spec = JSON.parse(figure.querySelector("script").textContent);
  for (const [name, data] of Object.entries(spec.datasets ?? {})) if (!Array.isArray(data)) spec.datasets[name] = rows(data);
  const place = document.createElement("div");
  figure.append(place);
  const actions = { export: true, source: false, compiled: false, editor: false };
  vegaEmbed(place, spec, { renderer: "svg", ast: true, actions }).then(
    (result) => {
      figure.querySelector("img")?.remove();
      drawn?.(result.view);
    },
    () => place.remove(),
  );
}
for (const figure of document.querySelectorAll("figure.chart")) if (!figure.closest("[hidden], [data-result]")) draw(figure);
