
// Results between the nodes of a grid: multilinear, by ratio where axis or result is.
function interpolate(axes, result, point) {
  const places = axes.map(({ nodes, log }, k) => {
    const u = log ? Math.log : (x) => x;
    const i = Math.max(0, Math.min(nodes.length - 2, nodes.findLastIndex((node) => node <= point[k])));
    return [i, (u(point[k]) - u(nodes[i])) / (u(nodes[i + 1]) - u(nodes[i]))];
  });
  let sum = 0;
  for (let corner = 0; corner < 2 ** axes.length; corner++) {
    let [at, weight] = [0, 1];
    places.forEach(([i, t], k) => {
      const up = (corner >> k) & 1;
      at = at * axes[k].nodes.length + i + up;
      weight *= up ? t : 1 - t;
    });
    if (!weight) continue;
    const value = result.values[at];
    if (value === null) return null; // not feasible near by
    sum += weight * (result.log ? Math.log(value) : value);
  }
  return result.log ? Math.exp(sum) : sum;
}

// The results that move, at most eight of them, by ratio where they are positive, with their error.
function surfaces({ axes, results }) {
  const product = axes.reduce((points, { middles }) => points.flatMap((point) => middles.map((value) => [...point, value])), [[]]);
  return Object.entries(results)
    .map(([name, [values, seen]]) => {
      const known = values.filter((value) => value !== null);
      const [low, high] = [Math.min(...known), Math.max(...known)];
      const result = { name, values, log: low > 0, error: Infinity };
      if (!(high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high)))) return result;
      const off = product.map((point, i) => {
        const found = interpolate(axes, result, point);
        if (found === null || seen[i] === null) return 0;
        return result.log ? Math.abs(found / seen[i] - 1) : Math.abs(found - seen[i]) / (high - low);
      });
      result.error = Math.max(1e-5, 1.25 * Math.max(...off));
      return result;
    })
    .filter(({ error }) => error <= 0.1)
    .slice(0, 8);
}

if (typeof document !== "undefined") {
  const baked = JSON.parse(document.getElementById("surface").textContent);
  const [axes, results] = [baked.axes, surfaces(baked)];
  const make = (tag, attributes, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const say = (value, digits = 3) => {
    const size = Math.abs(value);
    const notation = size >= 1e15 || (size && size < 1e-4) ? "scientific" : size >= 1e6 ? "compact" : "standard";
    return new Intl.NumberFormat("en", { maximumSignificantDigits: digits, notation }).format(value);
  };
  const point = axes.map((axis) => axis.value);
  const rows = results.map((result) => make("tr", {}, make("td", {}, result.name.replaceAll("_", " ")), ...[0, 1, 2].map(() => make("td", { className: "number" }))));
  document.querySelector("#sliders tbody").append(...rows);
  const own = results.map((result) => interpolate(axes, result, point));
  const update = () =>
    results.forEach((result, i) => {
      const value = interpolate(axes, result, point);
      const texts = [own[i] === null ? "not feasible" : say(own[i]), value === null ? "not feasible" : say(value), `${say(100 * result.error, 2)} %`];
      texts.forEach((text, k) => { rows[i].children[k + 1].textContent = text; });
      rows[i].classList.toggle("changed", value !== own[i]);
    });
  axes.forEach((axis, k) => {
    const [low, high] = [axis.nodes[0], axis.nodes.at(-1)];
    const input = make("input", { type: "range", min: 0, max: 1, step: "any" });
    const shown = make("output", {});
    const place = (value) => (axis.log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const set = (value) => {
      point[k] = value;
      shown.textContent = `${say(value)} ${axis.unit}`;
      input.ariaValueText = shown.textContent;
    };
    input.addEventListener("input", () => {
      const value = axis.log ? low * (high / low) ** input.valueAsNumber : low + (high - low) * input.valueAsNumber;
      set(axis.whole ? Math.round(value) : value);
      update();
    });
    input.value = place(axis.value);
    set(axis.value);
    document.querySelector(".sliders").append(make("label", { title: axis.meaning }, make("span", {}, `${axis.name.replaceAll("_", " ")} `, shown), input, make("small", {}, axis.meaning)));
    document.querySelector("#sliders").addEventListener("reset", () => { set(axis.value); input.value = place(axis.value); });
  });
  document.querySelector(".sliders").append(make("button", { type: "button", textContent: "As in this run", onclick: () => { document.querySelector("#sliders").dispatchEvent(new Event("reset")); update(); } }));
  document.getElementById("sliders").hidden = !results.length;
  update();
}
