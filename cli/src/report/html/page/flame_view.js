// The flame graph on a canvas, with its controls. Only the rows in view are drawn, so that a deep graph needs no larger
// canvas. What a pointer can do, keys can do: arrows move a mark from rectangle to rectangle, Enter zooms to it,
// Backspace zooms out by one, Escape all the way; what is marked is told in a live region.

const flameView = (() => {
  const { make, add, refill, choice, certaintyLine } = elements;
  const ROW = 20;
  const VIEW_ROWS = 28;
  const FONT = '12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
  const KEYS = "Arrows move, Enter zooms in, Backspace out, Escape all the way out, / searches.";

  /** Builds the view; `start.key` is the metric shown first. Returns what others may ask of it. */
  function show(into, whole, report, start) {
    const shown = { whole: { tree: whole, sites: report.sites } };
    let library = "folded";
    let toldZoom = "";
    // What another part of the page shows here selects nothing.
    let isRevealing = false;
    // The metric that was shown before a selection that has it not.
    let before;
    let { tree, sites } = shown.whole;
    const state = { key: start.key, direction: "callers", zoom: [], marked: undefined, wanted: "", matches: undefined };
    let laid = { rows: [], total: 0, whole: 0, zoom: [] };

    const canvas = make("canvas", { class: "flame-canvas", "aria-hidden": "true" });
    const spacer = make("div", { class: "flame-spacer" }, canvas);
    const scroller = make("div", {
      class: "flame-scroller", id: "flame-graph", tabindex: "0", role: "application",
      "aria-label": "Flame graph", "aria-describedby": "flame-keys",
    }, spacer);
    const search = make("input", {
      type: "search", id: "flame-search", placeholder: "Search functions, or /regex/", "aria-label": "Search functions in the flame graph",
      oninput: () => find(search.value.trim()),
    });
    const found = make("span", { class: "found", id: "flame-found", role: "status" });
    const reset = make("button", { type: "button", id: "flame-reset", onclick: () => zoomTo([]) }, "Reset zoom");
    const crumbs = make("p", { class: "crumbs", id: "flame-crumbs" });
    const told = make("div", { class: "told", id: "flame-told", role: "status", "aria-live": "polite" });
    const certainty = make("div", {});
    const metrics = report.metrics.map((metric) => ({ value: metric.key, label: metric.label }));
    const metricChoice = choice("Show", metrics, state.key, setMetric);
    const libraries = [{ value: "folded", label: "folded" }, { value: "whole", label: "whole" }];
    const directions = [{ value: "callers", label: "from callers" }, { value: "callees", label: "from allocating functions" }];
    add(into, 
      make("div", { class: "controls" }, metricChoice, choice("Start", directions, state.direction, setDirection), choice("Library", libraries, "folded", setLibrary), legend()),
      make("div", { class: "crumb-line" }, crumbs, found, search, reset), scroller, told, make("p", { class: "hint", id: "flame-keys" }, KEYS), certainty);

    const stacks = report.certainties.find((one) => one.figure === "call stacks");
    const metric = () => report.metrics.find((one) => one.key === state.key);
    const nameOf = (rectangle) => (rectangle.name < 0 ? "all" : tree.text(rectangle.name));

    function setMetric(key) {
      state.key = key;
      lay();
    }

    function setDirection(direction) {
      state.direction = direction;
      state.zoom = [];
      lay();
    }

    /** Whether functions of the library and of the runtime are shown one by one, or a run of them as one. */
    function setLibrary(how) {
      library = how;
      take();
      state.zoom = [];
      lay();
    }

    function take() {
      if (library === "folded") shown.folded ??= calls.fold(whole.packed, shown.whole.sites);
      ({ tree, sites } = shown[library]);
      if (state.wanted) state.matches = tree.matching(state.wanted);
    }

    function pick(key) {
      state.key = key;
      metricChoice.querySelector(`input[value=${key}]`).checked = true;
    }

    /** Shows other figures of the same sites; `keys` are the metrics that they have, or nothing if they have all. */
    function update(next, keys) {
      shown.whole = { tree: calls.open(whole.packed, next), sites: next };
      shown.folded = undefined;
      for (const input of metricChoice.querySelectorAll("input")) input.disabled = Boolean(keys) && !keys.includes(input.value);
      if (keys && !keys.includes(state.key)) {
        before = state.key;
        pick(keys[0]);
      } else if (!keys && before) {
        pick(before);
        before = undefined;
      }
      take();
      lay();
    }

    /** Tells what the graph is zoomed to, and which sites are in it. */
    function tellZoom() {
      const key = [library, state.direction, ...state.zoom].join(" ");
      if (!start.zoomed || key === toldZoom) return;
      toldZoom = key;
      if (isRevealing) return;
      const top = laid.rows[state.zoom.length]?.[0];
      if (state.zoom.length === 0 || !top) return void start.zoomed(undefined);
      const mask = new Uint8Array(sites.node.length);
      const isEnd = top.from && new Set(top.from);
      sites.node.forEach((node, site) => {
        const is = isEnd ? isEnd.has(node) : top.nodes.some((one) => node >= one && node < one + tree.span[one]);
        mask[site] = is ? 1 : 0;
      });
      start.zoomed({ mask, label: brief(tree.short(state.zoom[state.zoom.length - 1])) });
    }

    function zoomTo(path) {
      state.zoom = path;
      lay();
    }

    function lay() {
      const width = scroller.clientWidth;
      laid = flame.layout(tree, sites, state.key, state.direction, state.zoom, width);
      state.zoom = laid.zoom;
      state.marked = laid.rows[state.zoom.length]?.[0];
      spacer.style.height = `${laid.rows.length * ROW}px`;
      const rows = Math.min(VIEW_ROWS, Math.max(laid.rows.length, 3));
      scroller.style.height = `${rows * ROW + 2}px`;
      reset.disabled = state.zoom.length === 0;
      scroller.dataset.rectangles = String(laid.rows.reduce((sum, row) => sum + row.length, 0));
      scroller.dataset.zoom = String(state.zoom.length);
      scroller.dataset.metric = state.key;
      refill(certainty, certaintyLine(metric().certainty, "Certainty of the sum"), stacks && certaintyLine(stacks, "Certainty of the call stacks"));
      trail();
      tellFound();
      tell(state.marked);
      draw();
      tellZoom();
    }

    /** The way to what is zoomed to, each step a button. */
    function trail() {
      const steps = [make("button", { type: "button", class: "crumb", onclick: () => zoomTo([]) }, `all: ${units.inUnit(laid.total, metric().unit)}`)];
      const first = Math.max(0, state.zoom.length - 6);
      if (first > 0) steps.push(make("span", { class: "faint" }, ` › … `));
      state.zoom.slice(first).forEach((name, at) => {
        const path = state.zoom.slice(0, first + at + 1);
        steps.push(make("span", { class: "faint" }, " › "), make("button", { type: "button", class: "crumb", title: tree.text(name), onclick: () => zoomTo(path) }, brief(tree.short(name))));
      });
      refill(crumbs, ...steps);
    }

    function find(wanted) {
      state.wanted = wanted;
      state.matches = wanted ? tree.matching(wanted) : undefined;
      tellFound();
      draw();
    }

    function tellFound() {
      const top = laid.rows[state.zoom.length]?.[0];
      if (!state.matches || !top) {
        found.textContent = "";
        return;
      }
      const sum = flame.matched(tree, state.key, top, state.matches);
      found.textContent = sum > 0 ? `${units.inUnit(sum, metric().unit)}, ${units.share(sum, laid.whole)}, in matching functions` : "no match";
    }

    function tell(rectangle) {
      if (!rectangle) {
        refill(told, make("span", { class: "faint" }, `No site has a ${metric().label} figure above zero.`));
        return;
      }
      const unit = metric().unit;
      const parts = [`${units.inUnit(rectangle.value, unit)}, ${units.share(rectangle.value, laid.total)} of ${metric().label}`];
      if (rectangle.self > 0 && rectangle.name >= 0) parts.push(`${units.inUnit(rectangle.self, unit)} in itself`);
      const frame = rectangle.name < 0 ? undefined : tree.describe(tree.frame[rectangle.nodes[0]]);
      const several = rectangle.nodes.length > 1 && rectangle.name >= 0 ? `, and other places` : "";
      refill(told, 
        make("strong", {}, nameOf(rectangle)), " ", make("span", { class: "figures" }, parts.join("; ")),
        frame?.place ? make("span", { class: "place" }, frame.place + several) : undefined);
    }

    function draw() {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [scroller.clientWidth, scroller.clientHeight];
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.font = FONT;
      pen.textBaseline = "middle";
      const inks = paints();
      const first = Math.floor(scroller.scrollTop / ROW);
      const last = Math.min(laid.rows.length, first + Math.ceil(height / ROW) + 1);
      for (let depth = first; depth < last; depth += 1) {
        const top = depth * ROW - scroller.scrollTop;
        for (const rectangle of laid.rows[depth]) one(pen, inks, rectangle, rectangle.left * width, top, rectangle.wide * width);
      }
    }

    function one(pen, inks, rectangle, left, top, wide) {
      const box = Math.max(wide - (wide > 3 ? 1 : 0), 0.5);
      pen.fillStyle = fill(inks, rectangle);
      pen.fillRect(left, top, box, ROW - 1);
      if (rectangle === state.marked) {
        pen.strokeStyle = inks.mark;
        pen.lineWidth = 2;
        pen.strokeRect(left + 1, top + 1, Math.max(box - 2, 1), ROW - 3);
      }
      if (wide < 28) return;
      const matches = state.matches && rectangle.name >= 0 && state.matches[rectangle.name];
      pen.fillStyle = matches ? inks.foundText : inks.text;
      pen.fillText(fitted(rectangle.name < 0 ? "all" : tree.short(rectangle.name), wide - 10), left + 5, top + ROW / 2);
    }

    function fill(inks, rectangle) {
      if (rectangle.name < 0) return inks.root;
      if (state.matches) return state.matches[rectangle.name] ? inks.found : inks.unfound;
      if (rectangle.depth < state.zoom.length) return inks.root;
      const kind = tree.packed.kinds[tree.frame[rectangle.nodes[0]]];
      // Neighbours differ a little, so that their edges show.
      return (inks.kinds[kind] ?? inks.kinds[2])[(rectangle.index + rectangle.depth) % 2];
    }

    function at(event) {
      const box = scroller.getBoundingClientRect();
      const depth = Math.floor((event.clientY - box.top - scroller.clientTop + scroller.scrollTop) / ROW);
      const x = (event.clientX - box.left - scroller.clientLeft) / scroller.clientWidth;
      return laid.rows[depth]?.find((one) => x >= one.left && x < one.left + one.wide);
    }

    function pathOf(rectangle) {
      const path = [];
      for (let one = rectangle; one && one.name >= 0; one = one.parent) path.push(one.name);
      return path.reverse();
    }

    function mark(rectangle) {
      if (!rectangle) return;
      state.marked = rectangle;
      const top = rectangle.depth * ROW;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      if (top + ROW > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW - scroller.clientHeight;
      tell(rectangle);
      draw();
    }

    const steps = {
      ArrowDown: (one) => laid.rows[one.depth + 1]?.find((next) => next.parent === one),
      ArrowUp: (one) => one.parent,
      ArrowLeft: (one) => laid.rows[one.depth][one.index - 1],
      ArrowRight: (one) => laid.rows[one.depth][one.index + 1],
    };

    scroller.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !state.marked) return;
      if (steps[event.key]) mark(steps[event.key](state.marked));
      else if (event.key === "Enter") zoomTo(pathOf(state.marked));
      else if (event.key === "Backspace") zoomTo(state.zoom.slice(0, -1));
      else if (event.key === "Escape") zoomTo([]);
      else return;
      event.preventDefault();
    });
    scroller.addEventListener("pointermove", (event) => {
      const one = at(event);
      scroller.title = one ? nameOf(one) : "";
      if (one) tell(one);
    });
    scroller.addEventListener("pointerleave", () => tell(state.marked));
    scroller.addEventListener("click", (event) => {
      const one = at(event);
      if (one) zoomTo(pathOf(one));
    });
    scroller.addEventListener("scroll", draw);
    setLibrary("folded");
    new ResizeObserver(lay).observe(scroller.parentElement);

    /** Zooms to the stack that ends at a node of the whole tree. */
    function reveal(end) {
      const path = tree.path(tree === whole ? end : shown.folded.became(end));
      if (state.direction !== "callers") {
        state.direction = "callers";
        into.querySelector('input[value="callers"]').checked = true;
      }
      isRevealing = true;
      zoomTo(path);
      isRevealing = false;
      scroller.scrollTop = Math.max(0, (laid.rows.length - VIEW_ROWS) * ROW);
      scroller.focus({ preventScroll: true });
    }

    return { redraw: draw, reveal, update, reset: () => zoomTo([]), focusSearch: () => search.focus() };
  }

  /** The colours. */
  function legend() {
    const entries = [["program", "yours"], ["dependency", "dependencies"], ["library", "standard library"], ["scope", "scopes"], ["unnamed", "without a name"]];
    return make("p", { class: "legend" }, entries.map(([name, label]) => make("span", {}, make("span", { class: `swatch flame-${name}`, "aria-hidden": "true" }), label)));
  }

  function paints() {
    const { colour } = elements;
    return {
      text: colour("--flame-text"), mark: colour("--ink"), root: colour("--flame-root"),
      found: colour("--flame-found"), foundText: colour("--flame-found-text"), unfound: colour("--flame-unfound"),
      kinds: [
        [colour("--flame-program-a"), colour("--flame-program-b")],
        [colour("--flame-library-a"), colour("--flame-library-b")],
        [colour("--flame-unnamed-a"), colour("--flame-unnamed-b")],
        [colour("--flame-unnamed-a"), colour("--flame-unnamed-b")],
        [colour("--flame-dependency-a"), colour("--flame-dependency-b")],
        [colour("--flame-scope-a"), colour("--flame-scope-b")],
      ],
    };
  }

  /** A name that fits into a line of several. */
  function brief(name) {
    return name.length > 40 ? `${name.slice(0, 39)}…` : name;
  }

  /**
   * As much of a name as there is room for: the end of its path says more than the beginning. The font has one width
   * for all characters.
   */
  function fitted(name, room) {
    const most = Math.floor(room / 7.25);
    let rest = name;
    while (rest.length > most) {
      const next = afterFirst(rest);
      if (next === undefined) return most < 3 ? "" : `${rest.slice(0, most - 1)}…`;
      rest = next;
    }
    return rest;
  }

  /** A path without its first part; `::` inside brackets parts nothing. */
  function afterFirst(path) {
    let depth = 0;
    for (let at = 0; at + 1 < path.length; at += 1) {
      if (path[at] === "<" || path[at] === "(") depth += 1;
      else if ((path[at] === ">" && path[at - 1] !== "-") || path[at] === ")") depth -= 1;
      else if (depth <= 0 && path[at] === ":" && path[at + 1] === ":" && path[at + 2] !== "{") return path.slice(at + 2);
    }
    return undefined;
  }

  return { show };
})();
