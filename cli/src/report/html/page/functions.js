// The table by function: what a function allocated itself, or through library functions that it called (own), and what was
// allocated in it and in all that it called (inclusive). An opened row has its callers and callees, and its source.

const functionTable = (() => {
  const { make, add, byId, empty } = elements;
  const FIGURES = [["total", "total"], ["live", "live"], ["peak", "at peak"]];
  const LISTED = 12;

  /** The functions: a number for each name with its file. One name can be that of several functions. */
  function identities(tree) {
    const { packed } = tree;
    const [numbers, frames] = [new Map(), []];
    const ofFrame = Uint32Array.from(packed.names, (name, frame) => {
      const key = `${name} ${packed.files[frame]}`;
      if (!numbers.has(key)) {
        numbers.set(key, frames.length);
        frames.push(frame);
      }
      return numbers.get(key);
    });
    return { ofFrame, frames, of: (node) => ofFrame[tree.frame[node]] };
  }

  /** Their figures, one list for each. */
  function figures(tree, sites, ids) {
    const size = ids.frames.length;
    const found = { own: {}, inclusive: {} };
    for (const [key] of FIGURES) {
      const own = new Float64Array(size);
      const inclusive = new Float64Array(size);
      const weights = tree.weights(key);
      const until = new Uint32Array(size);
      for (let node = 1; node < tree.size; node += 1) {
        const id = ids.of(node);
        // A call inside another one of the same function is counted with that one.
        if (node < until[id]) continue;
        until[id] = node + tree.span[node];
        inclusive[id] += weights[node];
      }
      sites.node.forEach((node, site) => {
        const place = tree.place(node);
        if (place) own[ids.of(place)] += sites[key][site] ?? 0;
      });
      found.own[key] = own;
      found.inclusive[key] = inclusive;
    }
    return found;
  }

  /** Who called a function and whom it called, with the figure that came along. */
  function neighbours(tree, key, ids, id) {
    const weights = tree.weights(key);
    const [callers, callees] = [new Map(), new Map()];
    const ends = new Map();
    let until = 0;
    const sum = (map, at, value) => map.set(at, (map.get(at) ?? 0) + value);
    for (let node = 1; node < tree.size; node += 1) {
      if (ids.of(node) !== id) continue;
      const parent = node - tree.up[node];
      const end = node + tree.span[node];
      if (node >= until) {
        until = end;
        sum(callers, parent === 0 ? -1 : ids.of(parent), weights[node]);
      }
      for (let child = node + 1; child < end; child += tree.span[child]) {
        const callee = ids.of(child);
        if (callee === id || child < (ends.get(callee) ?? 0)) continue;
        ends.set(callee, child + tree.span[child]);
        sum(callees, callee, weights[child]);
      }
    }
    const ordered = (map) => [...map].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
    return { callers: ordered(callers), callees: ordered(callees) };
  }

  function list(label, title, rows) {
    const most = rows[0]?.[1] ?? 1;
    const lines = rows.slice(0, LISTED).map(([id, value]) => {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${Math.max((value / most) * 100, 0.5)}%`;
      return make("tr", {}, make("td", { class: "number" }, units.bytes(value)), make("td", { class: "bar-cell" }, bar), make("td", { class: "callee" }, id < 0 ? "(nobody: the outermost)" : label(id)));
    });
    const more = rows.length > LISTED ? make("p", { class: "hint" }, `and ${units.count(rows.length - LISTED)} more`) : undefined;
    return make("div", {}, make("h3", {}, title), rows.length ? make("table", { class: "plain neighbours" }, make("tbody", {}, lines)) : empty("None."), more);
  }

  function show(report, whole, chosen, listings) {
    const into = byId("functions-body");
    let { tree, sites } = { tree: whole, sites: report.sites };
    const ids = identities(whole);
    let found = figures(tree, sites, ids);
    const { packed } = whole;
    const nameOf = (id) => packed.names[ids.frames[id]];
    const kindOf = (id) => packed.kinds[ids.frames[id]];
    const isFunction = (id) => kindOf(id) !== 3 && kindOf(id) !== 5;
    const all = ids.frames.map((_, id) => id).filter(isFunction);
    const rows = () => all.filter((id) => FIGURES.some(([key]) => found.inclusive[key][id] > 0));
    const fileOf = (id) => packed.strings[packed.files[ids.frames[id]]];
    const label = (id) => make("span", { class: "name", title: `${whole.text(nameOf(id))}\n${fileOf(id)}` }, make("b", { class: `kind-${kindOf(id)}` }, elements.tail(whole.short(nameOf(id)))), " ", make("span", { class: "faint" }, fileOf(id).slice(fileOf(id).lastIndexOf("/") + 1)));
    const isKnown = (key) => !chosen.get().isPartial || key === "live";
    const column = (kind, key, title) => ({
      key: `${kind}_${key}`, label: title, wide: "6.6rem",
      value: (id) => found[kind][key][id], text: (id) => (isKnown(key) ? units.bytes(found[kind][key][id]) : "n/a"),
    });
    const columns = [
      { key: "name", label: "function", left: true, wide: "minmax(var(--name-width), 1fr)", value: (id) => whole.text(nameOf(id)), cell: label },
      ...FIGURES.flatMap(([key, title]) => [column("own", key, `own ${title}`), column("inclusive", key, `${title} incl.`)]),
    ];
    const search = make("input", { type: "search", id: "functions-filter", placeholder: "Filter by function, or /regex/", "aria-label": "Filter the functions", oninput: filter });
    add(into, make("p", { class: "hint" }, "Own: allocated in the function, or by library functions that it called. Inclusive: with all that it called. Open a row for its callers, callees and source."), make("div", { class: "controls" }, search));
    const more = (id) => {
      const key = chosen.get().isPartial || found.inclusive.total[id] === 0 ? "live" : "total";
      const { callers, callees } = neighbours(tree, key, ids, id);
      const what = key === "live" ? "live bytes" : "bytes allocated";
      return make("div", {}, make("p", { class: "place" }, whole.text(nameOf(id)), " ", fileOf(id)), make("div", { class: "two" }, list(label, `Callers, by ${what}`, callers), list(label, `Callees, by ${what}`, callees)), listings.ofFunction(ids, id));
    };
    const shown = table.show(into, { id: "functions-table", label: "Functions", columns, rows: rows(), sort: "own_total", more, height: 12 });

    function filter() {
      const wanted = search.value.trim();
      const matches = wanted ? whole.matching(wanted) : undefined;
      shown.filter((id) => !matches || matches[nameOf(id)] === 1);
    }
    chosen.follow((now) => {
      sites = now.frame ? onlyMasked(now) : now.sites;
      tree = now.isAll ? whole : calls.open(packed, sites);
      found = figures(tree, sites, ids);
      shown.rows(rows(), now.isPartial ? "own_live" : undefined);
    });
  }

  function onlyMasked(now) {
    const sites = { ...now.sites };
    for (const [key] of FIGURES) sites[key] = now.sites[key].map((value, site) => (now.mask[site] ? value : 0));
    return sites;
  }

  return { show };
})();
