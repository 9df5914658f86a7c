// Opens the page: reads the document, shows each section, and ties them together.

(() => {
  const { make, add, byId, empty } = elements;
  const THEMES = ["system", "light", "dark"];
  const SECTIONS = [
    ["overview", "Overview"], ["timeline", "Timeline"], ["flame", "Flame graph"], ["functions", "Functions"], ["sites", "Sites"], ["live", "Live"],
    ["reallocs", "Reallocs"], ["threads", "Threads"], ["distributions", "Sizes"], ["books", "Books"],
  ];
  const report = JSON.parse(byId("document").textContent);
  const drawn = [];

  const chosen = selection.open(report);
  add(byId("nav"), ...SECTIONS.map(([id, label]) => make("a", { href: `#${id}` }, label)));
  sections.overview(report);
  const timeline = timelinePlot.show(byId("timeline-body"), report, (span) => chosen.set({ span }));
  drawn.push(timeline);
  selection.bar(byId("selection"), report, chosen);

  const tree = report.calls ? calls.open(report.calls, report.sites) : undefined;
  const graph = flameSection();
  const listings = tree ? source.open(report, tree, () => chosen.get().sites) : undefined;
  const reveal = (node) => {
    graph?.reveal(node);
    byId("flame").scrollIntoView({ block: "start" });
  };
  sections.findings(report, tree);
  if (tree) functionTable.show(report, tree, chosen, listings);
  else byId("functions").hidden = true;
  sections.sites(report, tree, reveal, chosen, listings);
  sections.scopes(report, chosen);
  sections.live(report, tree, reveal, chosen);
  sections.reallocs(report, tree, reveal);
  let figures = report.sites;
  chosen.follow((now) => {
    if (!now.span) timeline.clear();
    if (now.sites !== figures) graph?.update(now.sites, now.isPartial ? ["live"] : undefined);
    figures = now.sites;
    if (!now.frame) graph?.reset();
    sections.findings(report, tree, now);
  });
  sections.threads(report);
  sections.distribution(byId("sizes-body"), report.sizes);
  sections.distribution(byId("lifetimes-body"), report.lifetimes);
  sections.books(report);

  function flameSection() {
    const into = byId("flame-body");
    if (report.sites_note) add(into, make("p", { class: "hint" }, report.sites_note));
    if (report.calls_note) add(into, tree ? make("p", { class: "hint" }, report.calls_note) : empty(report.calls_note));
    if (!tree) return undefined;
    const has = (metric) => report.sites[metric.key].some((value) => value > 0);
    const first = report.metrics.find((metric) => metric.key === "total" && has(metric)) ?? report.metrics.find(has) ?? report.metrics[0];
    const view = flameView.show(into, tree, report, { key: first.key, zoomed: (frame) => (frame || chosen.get().frame) && chosen.set({ frame }) });
    drawn.push(view);
    return view;
  }

  let theme = "system";
  function setTheme(next) {
    theme = next;
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Colours: ${theme}`;
    for (const view of drawn) view.redraw();
  }
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme));
  setTheme(theme);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || !graph) return;
    event.preventDefault();
    graph.focusSearch();
  });
  document.documentElement.dataset.ready = "yes";
})();
