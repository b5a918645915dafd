// Replaces the picture of each chart by the interactive chart; the picture stays where that fails.
for (const figure of document.querySelectorAll("figure.chart")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const place = document.createElement("div");
  figure.append(place);
  const actions = { export: true, source: false, compiled: false, editor: false };
  vegaEmbed(place, spec, { renderer: "svg", ast: true, actions }).then(
    () => figure.querySelector("img")?.remove(),
    () => place.remove(),
  );
}
