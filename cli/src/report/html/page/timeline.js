// The timeline: live bytes and the rate of allocation over time, drawn by uPlot, with the stretches in which events were
// lost in red. A span can be selected with a pointer or with keys; its figures are sums over the recorded intervals that
// it touches, and say so.

const timelinePlot = (() => {
  const { make, add, refill, certaintyLine, empty, colour } = elements;
  const KEYS = "Drag to select a span. With keys: arrows move it, Shift and arrows resize it, Home and End go to either end, Escape clears.";

  /** `selected` gets the span that is chosen, or nothing. */
  function show(into, report, selected) {
    const line = report.timeline;
    const steps = line.start_ns.length;
    if (steps === 0) {
      add(into, empty("No interval was recorded."));
      return { redraw() {}, clear() {} };
    }
    const inks = {};
    const ink = (name) => () => inks[name];
    paint();
    let span;
    const ends = line.start_ns.map((start, at) => start + line.length_each_ns[at]);
    const axis = [...line.start_ns, ends[steps - 1]].map((ns) => ns / 1e9);
    const stepped = (values) => [...values, values[steps - 1]];
    const rates = line.allocated_bytes.map((size, at) => (line.length_each_ns[at] > 0 ? (size * 1e9) / line.length_each_ns[at] : 0));

    const holder = make("div", { class: "plots", tabindex: "0", role: "group", id: "timeline-plots", "aria-label": "Timeline of live bytes and allocation rate", "aria-describedby": "timeline-keys" });
    const readout = make("p", { id: "timeline-readout" });
    const figures = make("div", { class: "span-figures", id: "timeline-span", role: "status", "aria-live": "polite" });
    add(into, holder, figures, make("p", { class: "hint", id: "timeline-keys" }, KEYS), losses(), certaintyLine(line.certainty));

    const resident = line.resident_bytes?.some((value) => value > 0) ? line.resident_bytes.map((value) => (value > 0 ? value : null)) : undefined;
    const live = plot("live bytes, highest in each step", stepped(line.highest_bytes), units.bytes, 190, "live", true, resident && stepped(resident));
    const rate = plot("bytes allocated per second", stepped(rates), units.byteRate, 120, "rate", false);

    function plot(title, values, format, height, name, marksPeak, other) {
      const place = make("div", { class: "plot" });
      const second = other ? [" ", make("span", { class: "swatch resident", "aria-hidden": "true" }), "resident memory of the process, as read a few times a second"] : [];
      const heading = make("p", {}, make("span", { class: `swatch ${name}`, "aria-hidden": "true" }), title, ...second);
      add(holder, make("div", { class: "plot-head" }, heading, marksPeak ? readout : undefined), place);
      const options = {
        width: Math.max(place.clientWidth, 200), height,
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, sync: { key: "timeline" } },
        scales: { x: { time: false, range: () => [0, Math.max(line.length_ns / 1e9, 1e-9)] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] } },
        series: [{}, { stroke: ink(name), fill: ink(`${name}Fill`), width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
          ...(other ? [{ stroke: ink("resident"), width: 1.5, spanGaps: true, points: { show: false } }] : [])],
        axes: [
          { stroke: ink("text"), grid: { stroke: ink("grid"), width: 1 }, ticks: { stroke: ink("grid"), width: 1 }, size: 30, values: (_, splits) => splits.map((s) => (s === 0 ? "0" : units.duration(Math.round(s * 1e9)))), incrs: units.TIME_STEPS, space: 90 },
          { stroke: ink("text"), grid: { stroke: ink("grid"), width: 1 }, ticks: { show: false }, size: 92, values: (_, splits) => splits.map((v) => (v === 0 ? "0" : format(v))), incrs: INCREMENTS, space: 34 },
        ],
        hooks: {
          drawClear: [drawLosses],
          draw: marksPeak ? [drawPeak] : [],
          setCursor: [(u) => tell(u.cursor.idx)],
          setSelect: [(u) => { if (u.select.width > 1) select(u.posToVal(u.select.left, "x") * 1e9, u.posToVal(u.select.left + u.select.width, "x") * 1e9); }],
        },
      };
      return new uPlot(options, other ? [axis, values, other] : [axis, values], place);
    }

    function drawLosses(u) {
      const pen = u.ctx;
      pen.save();
      pen.fillStyle = inks.loss;
      for (const [start, end] of line.losses) {
        const left = u.valToPos(start / 1e9, "x", true);
        const wide = Math.max(u.valToPos(end / 1e9, "x", true) - left, 2);
        pen.fillRect(left, u.bbox.top, wide, u.bbox.height);
      }
      pen.restore();
    }

    function drawPeak(u) {
      if (!(line.peak_bytes > 0)) return;
      const pen = u.ctx;
      const [x, y] = [u.valToPos(line.peak_at_ns / 1e9, "x", true), u.valToPos(line.peak_bytes, "y", true)];
      const ratio = window.devicePixelRatio || 1;
      pen.save();
      pen.fillStyle = inks.text;
      pen.beginPath();
      pen.arc(x, y, 3 * ratio, 0, 2 * Math.PI);
      pen.fill();
      const toLeft = x > u.bbox.left + u.bbox.width / 2;
      pen.textAlign = toLeft ? "right" : "left";
      pen.textBaseline = "middle";
      pen.font = `${12 * ratio}px system-ui, sans-serif`;
      pen.fillText(`peak ${units.bytes(line.peak_bytes)}`, x + (toLeft ? -8 : 8) * ratio, Math.max(y, u.bbox.top + 7 * ratio));
      pen.restore();
    }

    function tell(at) {
      if (at === null || at === undefined) {
        readout.textContent = "";
        return;
      }
      const step = Math.min(at, steps - 1);
      const lost = line.lost[step] > 0 ? `, ${units.counted(line.lost[step], "event", "events")} lost` : "";
      const held = line.resident_bytes?.[step] > 0 ? `${units.bytes(line.resident_bytes[step])} resident, ` : "";
      readout.textContent = `${units.duration(line.start_ns[step])}: at most ${units.bytes(line.highest_bytes[step])} live, ${held}${units.byteRate(rates[step])} allocated${lost}`;
    }

    /** Takes a span in nanoseconds to the intervals that it touches. */
    function select(from, to) {
      let first = line.start_ns.findIndex((start, at) => ends[at] > from);
      if (first < 0) first = steps - 1;
      let last = first;
      while (last + 1 < steps && line.start_ns[last + 1] < to) last += 1;
      choose({ first, last });
    }

    function choose(next, isQuiet) {
      const isOther = span?.first !== next?.first || span?.last !== next?.last;
      span = next;
      if (isOther && !isQuiet) selected?.(span && { ...span, from: line.start_ns[span.first], to: ends[span.last], label: `${line.start_ns[span.first] === 0 ? "0" : units.duration(line.start_ns[span.first])} to ${units.duration(ends[span.last])}` });
      for (const u of [live, rate]) {
        const left = span ? u.valToPos(line.start_ns[span.first] / 1e9, "x") : 0;
        const width = span ? u.valToPos(ends[span.last] / 1e9, "x") - left : 0;
        u.setSelect({ left, top: 0, width, height: span ? u.over.clientHeight : 0 }, false);
      }
      tellSpan();
    }

    function tellSpan() {
      const { first, last } = span ?? { first: 0, last: steps - 1 };
      const sum = (values) => values.slice(first, last + 1).reduce((all, value) => all + value, 0);
      const [start, end] = [line.start_ns[first], ends[last]];
      const before = first === 0 ? 0 : line.live_bytes[first - 1];
      const grown = line.live_bytes[last] - before;
      const lost = sum(line.lost);
      const allocated = sum(line.allocated_bytes);
      const facts = [
        [span ? "selected" : "whole recording", `${start === 0 ? "0" : units.duration(start)} to ${units.duration(end)}`],
        ["allocated", `${units.bytes(allocated)} in ${units.counted(sum(line.allocated_blocks), "block", "blocks")}`],
        ["freed", `${units.bytes(sum(line.freed_bytes))} in ${units.counted(sum(line.freed_blocks), "block", "blocks")}`],
        ["live, change", `${grown > 0 ? "+" : ""}${units.bytes(grown)}`],
        ["live, highest", units.bytes(line.highest_bytes.slice(first, last + 1).reduce((a, b) => Math.max(a, b), before))],
        ["rate", end > start ? units.byteRate((allocated * 1e9) / (end - start)) : "n/a"],
        ["lost", units.counted(lost, "event", "events"), lost > 0],
      ];
      refill(figures, 
        make("dl", { class: "facts" }, facts.map(([label, value, bad]) => make("div", {}, make("dt", {}, label), make("dd", { class: bad ? "bad" : undefined }, value)))),
        span ? make("button", { type: "button", id: "timeline-clear", onclick: () => choose(undefined) }, "Clear selection") : undefined);
      figures.dataset.selected = span ? `${first}-${last}` : "";
    }

    function losses() {
      if (line.losses.length === 0) return undefined;
      const shown = line.losses.slice(0, 6);
      const items = shown.map(([start, end, lost]) => make("li", {}, `${units.counted(lost, "event", "events")} lost from ${units.duration(start)} to ${units.duration(end)}`));
      const rest = line.losses.slice(shown.length);
      if (rest.length > 0) items.push(make("li", {}, `${units.count(rest.reduce((sum, window) => sum + window[2], 0))} more in ${rest.length} further stretches`));
      return make("div", { class: "losses" }, make("p", {}, make("span", { class: "swatch loss", "aria-hidden": "true" }), "Events were lost here; figures of these stretches are too small or unbalanced."), make("ul", {}, items));
    }

    holder.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const wide = Math.max(1, Math.round(steps / 50));
      const now = span ?? { first: 0, last: Math.min(steps, wide * 5) - 1 };
      const by = { ArrowLeft: -wide, ArrowRight: wide }[event.key];
      if (by !== undefined && span === undefined) choose(now);
      else if (by !== undefined && event.shiftKey) choose({ first: now.first, last: Math.min(Math.max(now.last + by, now.first), steps - 1) });
      else if (by !== undefined) choose(moved(now, by));
      else if (event.key === "Home") choose(moved(now, -steps));
      else if (event.key === "End") choose(moved(now, steps));
      else if (event.key === "Escape") choose(undefined);
      else return;
      event.preventDefault();
    });

    function moved(now, by) {
      const step = Math.min(Math.max(by, -now.first), steps - 1 - now.last);
      return { first: now.first + step, last: now.last + step };
    }

    function paint() {
      Object.assign(inks, {
        text: colour("--muted"), grid: colour("--grid"), live: colour("--live"), liveFill: colour("--live-fill"),
        resident: colour("--resident"), rate: colour("--rate"), rateFill: colour("--rate-fill"), loss: colour("--loss"),
      });
    }

    function resize() {
      const width = holder.clientWidth;
      if (width > 0 && width !== live.width) {
        live.setSize({ width, height: 190 });
        rate.setSize({ width, height: 120 });
        choose(span);
      }
    }

    new ResizeObserver(resize).observe(holder);
    resize();
    choose(undefined);
    return {
      clear() { choose(undefined, true); },
      redraw() {
        paint();
        live.redraw();
        rate.redraw();
      },
    };
  }

  /** Powers of two, and halves between them, so that the axis reads in whole binary units. */
  const INCREMENTS = Array.from({ length: 62 }, (_, power) => 2 ** power);

  return { show };
})();
