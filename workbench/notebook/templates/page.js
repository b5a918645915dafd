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
const cue = (region, number) => {
  const wide = region.scrollWidth > region.clientWidth + 1;
  region.classList.toggle("cut", wide && region.scrollLeft + region.clientWidth < region.scrollWidth - 1);
  if (wide) Object.assign(region, { tabIndex: 0, role: "region", ariaLabel: `Table ${number + 1}, scrolls sideways` });
};
document.querySelectorAll(".output.table, .output pre.aligned, .scroll, section.text table").forEach((region, number) => {
  region.addEventListener("scroll", () => cue(region, number));
  new ResizeObserver(() => cue(region, number)).observe(region);
});
addEventListener("beforeprint", () => document.querySelectorAll("details.fold").forEach((fold) => { fold.open = true; }));
