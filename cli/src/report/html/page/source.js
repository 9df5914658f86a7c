// Source lines of the program with the figures of the sites on them, where the files were there when the page was written.

const source = (() => {
  const { make } = elements;

  /** `figures()` gives the sites as they are selected. */
  function open(report, tree, figures) {
    const extracts = report.sources ?? [];
    let known;

    /** The sums of the sites by file and line of their places. */
    function sums() {
      const sites = figures();
      if (known?.sites === sites) return known.sums;
      const lines = new Map();
      sites.node.forEach((node, site) => {
        const frame = tree.frame[tree.place(node)];
        const key = `${tree.packed.files[frame]}:${tree.packed.lines[frame]}`;
        const sum = lines.get(key) ?? { total: 0, live: 0, count: 0 };
        for (const name of Object.keys(sum)) sum[name] += sites[name][site] ?? 0;
        lines.set(key, sum);
      });
      known = { sites, sums: lines };
      return lines;
    }

    /** The lines around a place, or nothing if its file was not there. */
    function around(file, line) {
      const extract = extracts.find((one) => one.file === tree.packed.strings[file] && line >= one.first && line < one.first + one.lines.length);
      return extract ? [listing(extract, file, line)] : [];
    }

    /** All kept lines of a function: those around the lines on which it allocates. */
    function ofFunction(ids, id) {
      const shown = new Map();
      ids.ofFrame.forEach((one, frame) => {
        if (one !== id) return;
        const [file, line] = [tree.packed.files[frame], tree.packed.lines[frame]];
        const extract = extracts.find((part) => part.file === tree.packed.strings[file] && line >= part.first && line < part.first + part.lines.length);
        if (extract && !shown.has(extract)) shown.set(extract, listing(extract, file, 0));
      });
      return [...shown.values()].slice(0, 6);
    }

    function listing(extract, file, marked) {
      const found = sums();
      const rows = extract.lines.map((text, at) => {
        const number = extract.first + at;
        const sum = found.get(`${file}:${number}`);
        const figure = (value, show) => make("td", { class: "number" }, sum && value > 0 ? show(value) : "");
        return make("tr", { class: number === marked ? "marked" : sum ? "allocates" : undefined },
          figure(sum?.total, units.bytes), figure(sum?.live, units.bytes), figure(sum?.count, units.count),
          make("td", { class: "number line-number" }, String(number)), make("td", { class: "code" }, text));
      });
      const head = make("tr", {}, ["total", "live", "blocks", "line"].map((label) => make("th", { scope: "col" }, label)), make("th", { scope: "col", class: "left" }, extract.file));
      return make("div", { class: "wide" }, make("table", { class: "source" }, make("thead", {}, head), make("tbody", {}, rows)),
        extract.newer ? make("p", { class: "hint bad" }, "The file was changed after the program had started: lines may have moved.") : undefined);
    }

    return { around, ofFunction };
  }

  return { open };
})();
