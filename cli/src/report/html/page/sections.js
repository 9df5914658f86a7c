// The sections that list: the banner, the figures at the top, sites, live blocks, threads, distributions, reallocs, books.

const sections = (() => {
  const { make, add, byId, certainty, certaintyLine, empty } = elements;
  const { count, bytes, share } = units;

  const factList = (facts) => make("dl", { class: "facts" }, facts.map((fact) => make("div", {}, make("dt", {}, fact.label), make("dd", {}, fact.value))));
  const numbers = (length) => Array.from({ length }, (_, at) => at);

  function overview(report) {
    byId("program").textContent = report.program;
    document.title = `${report.program}: heapledger report`;
    add(byId("about"), ...report.about.map((line) => make("p", { class: "faint" }, line)));
    add(byId("banner"), banner(report.banner, report.certainties));
    add(byId("tiles"), make("dl", { class: "tiles" }, report.tiles.map((tile) =>
      make("div", { class: "tile" }, make("dt", {}, tile.label), make("dd", { class: "value" }, tile.value),
        make("dd", { class: "detail" }, tile.detail), make("dd", {}, certainty(tile.certainty))))));
  }

  const LARGEST = [["peak", "largest at peak"], ["live", "largest live"], ["total", "allocated most"]];

  /** The findings that have a curve. */
  const GROWING = ["keeps growing", "grew to the end"];

  /** The findings; of a selection those with a site in it, and its largest places. */
  function findings(report, tree, now) {
    const into = byId("findings");
    const isIn = (site) => !now || now.isAll || site === null || samePlace(tree, report, site).some((one) => now.mask[one]);
    const drawn = courses(report, tree);
    const lines = report.findings.filter(([, , site]) => isIn(site)).map(([kind, text, site]) => make("li", {}, make("strong", {}, kind), ` ${text} `, GROWING.includes(kind) && site !== null ? drawn(site) : undefined));
    const largest = now && !now.isAll && tree ? LARGEST.flatMap(([key, label]) => largestPlace(tree, now, key, label)) : [];
    if (lines.length + largest.length === 0 && (!now || now.isAll)) return void elements.refill(into);
    elements.refill(into, make("h2", { id: "findings-h" }, "Findings"),
      largest.length ? make("p", { class: "hint" }, "In the selection:") : undefined,
      largest.length ? make("ol", { class: "advice", id: "selected-findings" }, largest) : undefined,
      largest.length && lines.length ? make("p", { class: "hint" }, "Of the whole recording, with a site in the selection:") : undefined,
      lines.length ? make("ol", { class: "advice" }, lines) : make("p", { class: "hint" }, "No finding of the whole recording has a site in the selection."));
  }

  const placeKey = (tree, node) => tree.frame[tree.place(node)];

  /** Live bytes over time of the place of a site, where they were recorded: a function of the site that draws them. */
  function courses(report, tree) {
    const known = new Map();
    if (tree) for (const course of report.courses ?? []) known.set(placeKey(tree, report.sites.node[course.site]), course);
    const lasted = Math.max(report.timeline.length_ns, 1);
    return (site) => {
      const course = tree && known.get(placeKey(tree, report.sites.node[site]));
      if (!course) return undefined;
      const label = `${course.kind}: rose in ${course.rises} and fell in ${course.falls} of ${course.steps} steps, ${bytes(course.live_bytes[course.live_bytes.length - 1] ?? 0)} at the end`;
      return elements.curve(course.live_bytes, Math.min((course.first_interval * course.interval_ns) / lasted, 1), label);
    };
  }

  function samePlace(tree, report, site) {
    const wanted = placeKey(tree, report.sites.node[site]);
    return numbers(report.sites.node.length).filter((one) => placeKey(tree, report.sites.node[one]) === wanted);
  }

  function largestPlace(tree, now, key, label) {
    const sums = new Map();
    let whole = 0;
    now.sites.node.forEach((node, site) => {
      const value = now.mask[site] ? now.sites[key][site] ?? 0 : 0;
      if (value === 0) return;
      whole += value;
      const place = placeKey(tree, node);
      sums.set(place, (sums.get(place) ?? 0) + value);
    });
    const [place, value] = [...sums].sort((a, b) => b[1] - a[1])[0] ?? [];
    if (!value) return [];
    const { short, place: at } = tree.describe(place);
    return [make("li", {}, make("strong", {}, label), ` ${short} ${at ? `(${at.split("/").slice(-3).join("/")})` : ""}: ${bytes(value)}, ${share(value, whole)} of the selection`)];
  }

  function banner(found, certainties) {
    const doubts = certainties.filter((one) => one.grade !== "exact");
    const words = { good: "complete", note: "complete; see the remarks", bad: "not complete" };
    const lost = found.lost.map(([reason, events]) => make("li", {}, make("code", {}, reason), ` ${events}`));
    const warnings = found.warnings.map((one) => make("li", {}, make("strong", {}, one.seen), ` ${one.matters} ${one.advice}`));
    const doubtful = doubts.map((one) => make("tr", {}, make("th", { scope: "row" }, one.figure), make("td", { class: `grade-${one.grade}` }, one.text)));
    const exact = certainties.filter((one) => one.grade === "exact").map((one) => one.figure);
    return make("div", { class: `banner tone-${found.tone}`, role: "region", "aria-label": "Quality of the data" },
      make("div", { class: "banner-head" },
        make("div", {}, make("p", { class: "kicker" }, "completeness"), make("p", { class: "headline" }, found.headline), make("p", { class: "verdict" }, words[found.tone] ?? "")),
        make("div", { class: "banner-text" }, make("p", {}, found.sentence),
          found.samples.length ? make("div", { class: "samples" }, make("p", { class: "faint" }, "What the samples alone say, with one standard error; the figures below are exact where they say so."), factList(found.samples)) : undefined,
          lost.length ? make("ul", { class: "inline" }, make("li", {}, "lost:"), lost) : undefined,
          found.damage.length ? make("ul", {}, found.damage.map((part) => make("li", { class: "bad" }, part))) : undefined,
          warnings.length ? make("ul", { class: "warnings" }, warnings) : undefined)),
      make("details", {}, make("summary", {}, doubts.length ? `How far the figures can be trusted: ${doubts.length} of ${certainties.length} groups not exact` : "How far the figures can be trusted: all exact"),
        doubts.length ? make("table", { class: "plain" }, make("tbody", {}, doubtful)) : undefined,
        exact.length ? make("p", { class: "faint" }, `Exact: ${exact.join(", ")}.`) : undefined,
        factList(found.facts),
        found.notes.length ? make("ul", {}, found.notes.map((note) => make("li", {}, note))) : undefined));
  }

  /** A name without the modules of the types in its brackets: `<Row as Drop>::drop`. */
  const brief = (name) => (name.startsWith("<") ? name.replace(/(?<![>\w]::|\w)(?:[a-z_][a-z0-9_]*::)+/g, "") : name);

  /** What a site is called, with its place. */
  function siteName(tree, node) {
    const { main, called } = tree ? tree.title(node) : {};
    if (!main) return make("span", { class: "name" }, "(no stack)");
    const place = main.place.slice(main.place.lastIndexOf("/") + 1);
    const via = called ? `through ${elements.tail(brief(called.short))}` : "";
    const through = [place, via].filter(Boolean).join(", ");
    return make("span", { class: "name", title: [main.name, main.place, via].filter(Boolean).join("\n") }, make("b", { class: `kind-${main.kind}` }, elements.tail(brief(main.short))), " ", make("span", { class: "faint" }, through));
  }

  const LISTED_FRAMES = 24;

  /** The stack of a site: the program's own frame first, what it called and the runtime above it folded. */
  function stackOf(tree, node, reveal, listings) {
    if (!tree) return make("p", {}, "No call stack was taken.");
    const frames = tree.stack(node);
    const own = frames.findIndex((frame) => frame.kind === 0);
    const first = Math.max(own >= 0 ? own : frames.findIndex((frame) => frame.kind === 4), 0);
    const lastOwn = frames.findLastIndex((frame) => frame.kind === 0);
    const end = lastOwn >= 0 ? lastOwn + 1 : frames.length;
    const item = (frame) => make("li", { class: `kind-${frame.kind}` }, make("span", { class: "frame" }, frame.name), " ", make("span", { class: "place" }, frame.place));
    const list = (some, at) => make("ol", { class: "stack", start: String(at + 1) }, some.map(item));
    const folded = (some, at, text) => (some.length ? make("details", {}, make("summary", {}, text), list(some, at)) : undefined);
    const place = tree.frame[tree.place(node)];
    const ownFrames = frames.slice(first, end);
    return make("div", {}, listings?.around(tree.packed.files[place], tree.packed.lines[place]),
      make("p", { class: "faint" }, "Call stack, from the innermost function of the program outwards:"),
      list(ownFrames.slice(0, LISTED_FRAMES), first),
      folded(ownFrames.slice(LISTED_FRAMES), first + LISTED_FRAMES, `${units.counted(ownFrames.length - LISTED_FRAMES, "more function", "more functions")} outwards`),
      folded(frames.slice(0, first), 0, `${units.counted(first, "function", "functions")} of libraries inside it, down to the allocation`),
      folded(frames.slice(end), end, `${units.counted(frames.length - end, "function", "functions")} of the runtime above it`),
      reveal ? make("button", { type: "button", onclick: () => reveal(node) }, "Show in the flame graph") : undefined);
  }

  const figure = (key, label, values, text) => ({ key, label, value: (row) => values[row] ?? -1, text: (row) => (values[row] === null ? "n/a" : text(values[row])) });
  /** A figure of the sites, which changes with what is selected. */
  const siteFigure = (data, key, label, text) => ({ key, label, value: (row) => data[key][row] ?? -1, text: (row) => (data[key][row] === null ? "n/a" : text(data[key][row])) });

  function nameColumn(tree, report) {
    const sites = report.sites;
    const names = tree ? sites.node.map((node) => tree.title(node).main?.name ?? "") : [];
    return { key: "name", label: "site", left: true, wide: "minmax(var(--name-width), 1fr)", value: (row) => names[row] ?? "", cell: (row) => siteName(tree, sites.node[row] ?? 0) };
  }

  function filterBox(id, label, tree, report, list, isSelected) {
    const input = make("input", {
      type: "search", id, placeholder: "Filter by function or file, or /regex/", "aria-label": label,
      oninput: () => {
        const wanted = input.value.trim();
        const flags = wanted && tree ? tree.below(tree.matching(wanted), true) : undefined;
        list().filter((row) => isSelected(row) && (!flags || flags[report.sites.node[row]] === 1));
      },
    });
    return input;
  }

  function sites(report, tree, reveal, chosen, listings) {
    const into = byId("sites-body");
    const data = { ...report.sites };
    if (report.sites_note) add(into, make("p", { class: "hint" }, report.sites_note));
    if (report.sites_sampled) add(into, make("p", { class: "hint", id: "sites-sampled" }, report.sites_sampled));
    if (data.live.length === 0) return void add(into, empty("No site has an account."));
    let list;
    if (tree) add(into, make("div", { class: "controls" }, filterBox("sites-filter", "Filter the sites", tree, report, () => list, (row) => chosen.get().mask[row] === 1)));
    const columns = [
      nameColumn(tree, report),
      siteFigure(data, "live", "live", bytes), siteFigure(data, "peak", "at peak", bytes), siteFigure(data, "total", "total", bytes),
      siteFigure(data, "count", "blocks", count), siteFigure(data, "temporary", "temporary", count), siteFigure(data, "reallocs", "reallocs", count),
    ];
    const estimate = (row) => (typeof data.estimated[row] === "number" ? `${bytes(data.estimated[row])} \u00b1 ${bytes(data.estimated_error[row])}` : "n/a");
    if (data.estimated.length > 0) columns.splice(1, 0, { key: "estimated", label: "estimated", wide: "11rem", value: (row) => data.estimated[row] ?? -1, text: estimate });
    const partly = (row) => make("div", {}, factList([{ label: "live, of the selection", value: `${units.bytesExact(data.live[row])}, ${units.counted(data.live_blocks[row], "block", "blocks")}` }]), stackOf(tree, data.node[row] ?? 0, reveal, listings));
    const more = (row) => chosen.get().isPartial ? partly(row) : make("div", {}, factList([
      { label: "live", value: `${units.bytesExact(data.live[row])}, ${units.counted(data.live_blocks[row], "block", "blocks")}` },
      { label: "at the peak of the process", value: `${units.bytesExact(data.peak[row])}, ${units.counted(data.peak_blocks[row], "block", "blocks")}` },
      { label: "own peak", value: units.bytesExact(data.own_peak[row]) },
      { label: "allocated", value: `${units.bytesExact(data.total[row])}, ${units.counted(data.count[row], "block", "blocks")}` },
      ...(data.estimated.length > 0 ? [{ label: "estimated of all blocks", value: estimate(row) }] : []),
      { label: "temporary", value: `${count(data.temporary[row])} (${share(data.temporary[row], data.count[row])})` },
      { label: "freed by another thread", value: count(data.cross_thread[row]) },
    ]), stackOf(tree, data.node[row] ?? 0, reveal, listings));
    list = table.show(into, { id: "sites-table", label: "Sites", columns, rows: numbers(data.live.length), sort: "total", more });
    chosen.follow((now) => {
      Object.assign(data, now.sites);
      byId("sites-filter")?.dispatchEvent(new Event("input"));
      list.rows(numbers(data.live.length), now.isPartial ? "live" : undefined);
    });
    const attribution = report.certainties.find((one) => one.figure === "call stacks");
    if (attribution) add(into, certaintyLine(attribution, "Certainty of the call stacks"));
  }

  function live(report, tree, reveal, chosen) {
    const into = byId("live-body");
    const { live: found, sites: data } = report;
    add(into, make("p", {}, `${units.counted(found.blocks, "block", "blocks")}, ${units.bytesExact(found.bytes)}, not freed when the snapshot was taken. At exit these are not leaks by themselves: what `, make("code", {}, "main"), " and statics still hold is among them."));
    if (found.blocks === 0 && data.live.every((value) => value === 0)) return void add(into, certaintyLine(found.certainty));
    const rows = numbers(data.live.length).filter((row) => data.live_blocks[row] > 0 && data.suppressed[row] === 0);
    const whole = rows.reduce((sum, row) => sum + data.live[row], 0);
    if (tree && rows.length > 0) {
      const drawn = courses(report, tree);
      const columns = [
        nameColumn(tree, report), figure("live", "live", data.live, bytes),
        { key: "share", label: "share", value: (row) => data.live[row], text: (row) => share(data.live[row], whole) },
        figure("live_blocks", "blocks", data.live_blocks, count),
        figure("oldest_ns", "oldest born", data.oldest_ns, units.duration),
        ...((report.courses ?? []).length > 0 ? [{ key: "course", label: "over time", value: (row) => data.live[row], cell: (row) => drawn(row) ?? "" }] : []),
        { key: "kept", label: "never freed", value: (row) => data.live_blocks[row] / data.count[row], text: (row) => share(data.live_blocks[row], data.count[row]) },
      ];
      const list = table.show(into, { id: "live-table", label: "Sites with live blocks", columns, rows, sort: "live", more: (row) => stackOf(tree, data.node[row], reveal), height: 8 });
      chosen.follow((now) => list.filter((row) => now.mask[row] === 1));
    }
    if (found.suppressed.length > 0) {
      const known = found.suppressed.map(([pattern, blocks, size]) => make("li", {}, make("code", {}, pattern), `: ${units.counted(blocks, "block", "blocks")}, ${bytes(size)}`));
      add(into, make("p", { class: "hint" }, "Left out of the table above, because a suppression names them:"), make("ul", { class: "hint" }, known));
    }
    const sizes = found.groups;
    const sizeColumns = [
      figure("size", "block size", sizes.map((one) => one[0]), bytes), figure("blocks", "blocks", sizes.map((one) => one[1]), count),
      figure("bytes", "bytes", sizes.map((one) => one[2]), bytes),
      { key: "share", label: "share", value: (row) => sizes[row][2], text: (row) => share(sizes[row][2], found.bytes) },
      figure("oldest", "oldest born", sizes.map((one) => one[3]), units.duration),
    ];
    if (sizes.length > 0) {
      add(into, make("h3", {}, "By size"));
      table.show(into, { id: "live-sizes", label: "Live blocks by size", columns: sizeColumns, rows: numbers(sizes.length), sort: "bytes", height: 8 });
      if (found.other_blocks > 0) add(into, make("p", { class: "hint" }, `Other sizes: ${units.counted(found.other_blocks, "block", "blocks")}, ${bytes(found.other_bytes)}.`));
    }
    add(into, certaintyLine(found.certainty));
  }

  function reallocs(report, tree, reveal) {
    const into = byId("reallocs-body");
    const data = report.sites;
    add(into, factList(report.reallocs));
    if (report.advice.length > 0) {
      const lines = report.advice.map(([place, saved]) => make("li", {}, make("code", {}, place), `: ${saved}`));
      add(into, make("h3", {}, "Advice"), make("ol", { class: "advice", id: "advice" }, lines), make("h3", {}, "By site"));
    }
    const rows = numbers(data.live.length).filter((row) => data.reallocs[row] > 0);
    if (rows.length > 0 && tree) {
      const mean = (row) => (data.chains[row] > 0 ? data.chain_links[row] / data.chains[row] : -1);
      const columns = [
        nameColumn(tree, report), figure("copied", "copied", data.copied, bytes), figure("reallocs", "reallocs", data.reallocs, count), figure("moved", "moved", data.moved, count),
        { key: "mean", label: "per block", value: mean, text: (row) => (mean(row) < 0 ? "n/a" : mean(row).toFixed(2)) },
        figure("longest_chain", "longest", data.longest_chain, count),
      ];
      table.show(into, { id: "reallocs-table", label: "Sites that reallocate", columns, rows, sort: "copied", more: (row) => stackOf(tree, data.node[row], reveal), height: 8 });
    }
    add(into, certaintyLine(report.reallocs_certainty));
  }

  function threads(report) {
    const into = byId("threads-body");
    const lines = report.threads.lines;
    if (lines.length === 0) return void add(into, empty("No thread made an event."));
    const column = (key, label, text) => ({ key, label, value: (row) => lines[row][key], text: (row) => text(lines[row][key]) });
    const name = (row) => make("span", { class: "name" }, lines[row].name, lines[row].own ? make("span", { class: "faint" }, " heapledger's own") : undefined, lines[row].ended ? make("span", { class: "faint" }, " ended") : undefined);
    const lost = { ...column("lost", "lost", count), cell: (row) => make("span", { class: lines[row].lost > 0 ? "bad" : undefined }, count(lines[row].lost)) };
    const columns = [
      { key: "name", label: "thread", left: true, wide: "minmax(var(--name-width), 1fr)", value: (row) => lines[row].name, cell: name },
      column("os_id", "id", (text) => text), column("total_bytes", "bytes", bytes), column("total_blocks", "blocks", count), column("freed_blocks", "freed", count),
      column("cross_thread_frees", "of others", count), column("recorded", "events", count), lost,
    ];
    table.show(into, { id: "threads-table", label: "Threads", columns, rows: numbers(lines.length), sort: "total_bytes", height: 10 });
    add(into, make("p", { class: "hint" }, `${units.counted(report.threads.threads, "thread", "threads")} of the program.`));
    const pairs = report.threads.crossings;
    if (pairs.length > 0) {
      const of = (key, label, text) => ({ key, label, value: (row) => pairs[row][key], text: (row) => text(pairs[row][key]) });
      const who = (key, label) => ({ key, label, left: true, wide: "minmax(var(--name-width), 1fr)", value: (row) => pairs[row][key], cell: (row) => make("span", { class: "name" }, pairs[row][key]) });
      add(into, make("h3", {}, "Who freed whose blocks"));
      const matrix = [who("allocated_by", "allocated by"), who("freed_by", "freed by"), of("blocks", "blocks", count), of("bytes", "bytes", bytes)];
      table.show(into, { id: "crossings-table", label: "Who freed whose blocks", columns: matrix, rows: numbers(pairs.length), sort: "blocks", height: 10 });
      if (report.threads.other_crossings > 0) add(into, make("p", { class: "hint" }, `${count(report.threads.other_crossings)} more blocks, of other pairs of threads.`));
    }
    add(into, certaintyLine(report.threads.certainty));
  }

  function distribution(into, found) {
    if (found.rows.length === 0) return void add(into, empty("None."));
    const largest = found.rows.reduce((most, row) => Math.max(most, row[2]), 1);
    const rows = found.rows.map(([low, high, blocks]) => {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${Math.max((blocks / largest) * 100, 0.5)}%`;
      return make("tr", {}, make("td", {}, low), make("td", {}, high), make("td", {}, count(blocks)), make("td", {}, share(blocks, found.blocks)), make("td", { class: "bar-cell" }, bar));
    });
    const head = make("tr", {}, ["from", "to", "blocks", "share"].map((label) => make("th", { scope: "col" }, label)), make("td", {}));
    add(into, make("table", { class: "distribution" }, make("thead", {}, head), make("tbody", {}, rows)), make("p", { class: "hint" }, found.summary), certaintyLine(found.certainty));
  }

  function books(report) {
    const laws = report.laws.map((law) => make("tr", {}, make("td", { class: `law-${law.state.replace(" ", "-")}` }, law.state), make("td", {}, law.law), make("td", { class: "number" }, law.left), make("td", { class: "number" }, law.right)));
    const changes = report.changes.map(([when, what]) => make("li", {}, `after ${when}: ${what}`));
    add(byId("books-body"), 
      make("p", {}, "What the books must obey, with both sides of each law. One that is broken makes every figure uncertain; one that is not checkable need not hold, because events are missing."),
      make("div", { class: "wide" }, make("table", { class: "plain laws" }, make("thead", {}, make("tr", {}, ["", "law", "left", "right"].map((label) => make("th", { scope: "col" }, label)))), make("tbody", {}, laws))),
      make("h3", {}, "Changes of state"), changes.length ? make("ul", {}, changes) : empty("None while recording."));
  }

  /** The scopes, each with a button that selects it. */
  function scopes(report, chosen) {
    const lines = report.scopes;
    byId("scopes").hidden = lines.length === 0;
    if (lines.length === 0) return;
    const column = (key, label, text) => ({ key, label, value: (row) => lines[row][key], text: (row) => text(lines[row][key]) });
    const select = (row) => make("button", { type: "button", class: "small", onclick: (event) => { event.stopPropagation(); chosen.set({ scope: { number: lines[row].number, label: lines[row].name } }); } }, "Select");
    const name = (row) => make("span", { class: "name" }, "\u00a0\u00a0".repeat(lines[row].depth * 2), lines[row].name);
    const peak = { ...column("peak_bytes", "peak", bytes), text: (row) => `${lines[row].peak_uncertainty_bytes > 0 ? "≥ " : ""}${bytes(lines[row].peak_bytes)}` };
    const columns = [
      { key: "order", label: "scope", left: true, wide: "minmax(var(--name-width), 1fr)", value: (row) => row, cell: name },
      column("total_bytes", "bytes", bytes), column("total_blocks", "blocks", count), column("live_bytes", "live", bytes), peak, column("threads", "threads", count),
      { key: "select", label: "", value: (row) => row, cell: select },
    ];
    const shown = table.show(byId("scopes-body"), { id: "scopes-table", label: "Scopes", columns, rows: numbers(lines.length), sort: "total_bytes", height: 10 });
    add(byId("scopes-body"), make("p", { class: "hint" }, "Figures include nested scopes; a block belongs to the scope that allocated it."));
    return shown;
  }

  return { overview, findings, scopes, sites, live, reallocs, threads, distribution, books };
})();
