// What the reader has selected: a span of the timeline, a thread, a scope, a frame of the flame graph. Flame graph, tables
// and findings follow. A scope and a frame select sites, with all their figures. A span and a thread select among the
// live blocks, whose birth and thread are known; no other figure of a site is recorded by time or by thread, so the others
// are not shown then.

const selection = (() => {
  const { make, refill } = elements;
  const NO_FIGURES = new Set(["node", "scope", "suppressed"]);

  function open(report) {
    const all = report.sites;
    const count = all.live.length;
    const cells = report.live_cells;
    const state = { span: undefined, thread: undefined, scope: undefined, frame: undefined };
    const listeners = [];
    const parents = new Map(report.scopes.map((scope) => [scope.number, scope.parent]));
    let now = derive();

    /** Whether a scope lies in another one, or is it. */
    function isInside(number, outer) {
      for (let at = number; at; at = parents.get(at) ?? 0) if (at === outer) return true;
      return false;
    }

    function derive() {
      const { span, thread, scope, frame } = state;
      const isPartial = Boolean(span || thread);
      const mask = new Uint8Array(count).fill(1);
      if (scope) all.scope.forEach((number, site) => { mask[site] = isInside(number, scope.number) ? 1 : 0; });
      const sites = isPartial ? ofLiveBlocks(mask) : scope ? masked(mask) : all;
      if (isPartial) sites.live_blocks.forEach((blocks, site) => { if (blocks === 0) mask[site] = 0; });
      // The flame graph is zoomed to the frame, and so shows it already.
      const ofGraph = sites;
      if (frame) frame.mask.forEach((is, site) => { if (!is) mask[site] = 0; });
      return { sites: ofGraph, mask, isPartial, isAll: !(span || thread || scope || frame), ...state };
    }

    function masked(mask) {
      const sites = { ...all };
      for (const [key, values] of Object.entries(all)) {
        if (NO_FIGURES.has(key) || values.length !== count) continue;
        sites[key] = values.map((value, site) => (mask[site] ? value : value === null ? null : 0));
      }
      return sites;
    }

    /** The sites with the figures of the live blocks that are selected, and without any other figure. */
    function ofLiveBlocks(mask) {
      const sites = { ...all };
      for (const [key, values] of Object.entries(all)) {
        if (!NO_FIGURES.has(key) && values.length === count) sites[key] = new Array(count).fill(null);
      }
      sites.live = new Array(count).fill(0);
      sites.live_blocks = new Array(count).fill(0);
      const { span, thread } = state;
      cells.site.forEach((site, at) => {
        if (!mask[site] || (thread && cells.thread[at] !== thread.row)) return;
        const step = cells.step[at];
        if (span && (step + cells.steps_each <= span.first || step > span.last)) return;
        sites.live[site] += cells.bytes[at];
        sites.live_blocks[site] += cells.blocks[at];
      });
      return sites;
    }

    function set(part) {
      Object.assign(state, part);
      now = derive();
      for (const listener of listeners) listener(now);
    }

    return { set, get: () => now, follow: (listener) => listeners.push(listener) };
  }

  /** How far the figures of a selection can be trusted. */
  function about(found, cells, program) {
    if (!found.isPartial) return "Figures are those of the whole recording, of the sites that are selected.";
    const joined = found.span && cells.steps_each > 1 ? ` The span is taken in whole groups of ${cells.steps_each} steps.` : "";
    const whole = cells.is_complete ? "exact" : "a lower bound, because the list of live blocks is incomplete";
    const trace = found.span ? ` What was allocated and freed again within a span is known to a trace: heapledger report --html OUT --from ${program.from} --to ${program.to} TRACE.` : "";
    return `Sites show the blocks that were allocated ${found.span ? "in the span" : ""}${found.span && found.thread ? " " : ""}${found.thread ? "by the thread" : ""} and are live at the end: ${whole}.${joined}${trace}`;
  }

  /** The bar with what is selected, and the lists of threads and scopes. */
  function bar(into, report, chosen) {
    const pick = (id, label, options, choose) => {
      const box = make("select", { id, onchange: () => choose(options.find((one) => String(one.value) === box.value)) },
        make("option", { value: "" }, `all ${label}s`), ...options.map((one) => make("option", { value: String(one.value) }, one.label)));
      return { box, whole: make("label", { class: "pick" }, `${label} `, box) };
    };
    const threads = report.threads.lines.filter((line) => line.row !== null && !line.own).map((line) => ({ value: line.row, label: `${line.name} (${line.os_id}), ${units.bytes(line.total_bytes)}` }));
    const scopes = report.scopes.map((scope) => ({ value: scope.number, label: `${"\u00a0\u00a0".repeat(scope.depth)}${scope.name}, ${units.bytes(scope.total_bytes)}` }));
    const thread = pick("pick-thread", "thread", threads, (one) => chosen.set({ thread: one ? { row: one.value, label: one.label } : undefined }));
    const scope = pick("pick-scope", "scope", scopes, (one) => chosen.set({ scope: one ? { number: one.value, label: one.label.trim() } : undefined }));
    const chips = make("div", { class: "chips", id: "chips", role: "status" });
    const note = make("p", { class: "hint", id: "selection-note" });
    const clear = make("button", { type: "button", id: "selection-clear", onclick: () => chosen.set({ span: undefined, thread: undefined, scope: undefined, frame: undefined }) }, "Show everything");
    const picks = [threads.length > 1 ? thread.whole : undefined, scopes.length > 0 ? scope.whole : undefined];
    elements.add(into, make("div", { class: "controls" }, picks, chips, clear), note);

    function show(found) {
      thread.box.value = found.thread ? String(found.thread.row) : "";
      scope.box.value = found.scope ? String(found.scope.number) : "";
      const chip = (kind, part, label) => (part ? make("span", { class: "chip" }, make("span", { class: "faint" }, `${kind} `), label, make("button", { type: "button", "aria-label": `Clear the ${kind}`, onclick: () => chosen.set({ [kind]: undefined }) }, "×")) : undefined);
      refill(chips, chip("span", found.span, found.span?.label), chip("thread", found.thread, found.thread?.label), chip("scope", found.scope, found.scope?.label), chip("frame", found.frame, found.frame?.label));
      into.classList.toggle("selected", !found.isAll);
      document.documentElement.classList.toggle("selecting", !found.isAll);
      into.hidden = found.isAll && !picks.some(Boolean);
      clear.hidden = found.isAll;
      note.hidden = found.isAll;
      const at = (ns) => `${Math.round(ns / 1e6)}ms`;
      note.textContent = about(found, report.live_cells, { from: at(found.span?.from ?? 0), to: at(found.span?.to ?? 0) });
    }
    chosen.follow(show);
    show(chosen.get());
  }

  return { open, bar };
})();
