// Contents from the headings, code behind a button, tables that scroll with a cue, all of it open on paper.
const contents = document.querySelector(".contents");
for (const heading of document.querySelectorAll("section.text h2, section.end h2")) {
  heading.id ||= heading.textContent.trim().replace(/\W+/g, "-");
  const link = document.createElement("a");
  link.href = `#${heading.id}`;
  link.textContent = heading.textContent;
  contents.append(link);
}
const toggle = document.querySelector(".toggle");
toggle.addEventListener("click", () => {
  const show = document.body.classList.toggle("coded");
  document.querySelectorAll("details.source").forEach((source) => { source.open = show; });
  toggle.textContent = show ? "Hide code" : "Show code";
});
const cue = (region) => {
  const wide = region.scrollWidth > region.clientWidth + 1;
  region.classList.toggle("cut", wide && region.scrollLeft + region.clientWidth < region.scrollWidth - 1);
  if (wide) Object.assign(region, { tabIndex: 0, role: "region", ariaLabel: "Table, scrolls sideways" });
};
for (const region of document.querySelectorAll(".output.table, .output pre.aligned, .scroll")) {
  region.addEventListener("scroll", () => cue(region));
  new ResizeObserver(() => cue(region)).observe(region);
}
addEventListener("beforeprint", () => document.querySelectorAll("details.fold").forEach((fold) => { fold.open = true; }));
