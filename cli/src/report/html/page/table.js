// A table that can be sorted, filtered and opened, with any number of rows: only those in view are elements. A row is
// opened to show more about it; its height is measured then, and all rows below move by it.
//
// Keys: arrows, Page Up and Down, Home and End move a mark, Enter or Space open the marked row.

const table = (() => {
  const { make, add } = elements;
  const ROW = 30;

  /**
   * `columns`: `{ key, label, value(row), text(row), cell(row), wide, left }`; `value` sorts, and `text` or `cell` shows.
   * `rows`: numbers of all rows. `more(row)`: an element to open, or nothing. `height`: rows in view.
   */
  function show(into, { id, label, columns, rows: first, sort, more, height = 14 }) {
    let rows = first;
    const state = { order: sort, down: true, keep: () => true, shown: [], open: new Map(), lines: new Map(), mark: -1 };
    const template = columns.map((column) => column.wide ?? "6.2rem").join(" ");
    const head = make("div", { class: "row head", role: "row" });
    const body = make("div", { class: "rows", role: "rowgroup" });
    const scroller = make("div", { class: "table", id, role: "grid", tabindex: "0", "aria-label": label }, make("div", { class: "sheet" }, head, body));
    head.style.gridTemplateColumns = template;
    const status = make("p", { class: "hint", id: `${id}-status`, role: "status" });
    add(into, scroller, status);

    for (const column of columns) {
      const button = make("button", { type: "button", onclick: () => sortBy(column.key) }, column.label);
      add(head, make("div", { class: column.left ? "cell left" : "cell", role: "columnheader", "data-key": column.key }, button));
    }

    function sortBy(key) {
      state.before = undefined;
      state.down = state.order === key ? !state.down : !columns.find((column) => column.key === key).left;
      state.order = key;
      arrange();
    }

    function arrange() {
      const column = columns.find((one) => one.key === state.order);
      const sign = state.down ? -1 : 1;
      const keys = new Map(rows.map((row) => [row, column.value(row)]));
      const compare = (a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        return (x < y ? -sign : x > y ? sign : 0) || a - b;
      };
      state.shown = rows.filter(state.keep).sort(compare);
      state.mark = -1;
      for (const cell of head.children) {
        const sorted = cell.dataset.key === state.order;
        cell.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      }
      scroller.setAttribute("aria-rowcount", String(state.shown.length + 1));
      scroller.dataset.rows = String(state.shown.length);
      scroller.scrollTop = 0;
      status.textContent = state.shown.length === rows.length
        ? units.counted(rows.length, "row", "rows")
        : `${units.count(state.shown.length)} of ${units.counted(rows.length, "row", "rows")}`;
      const tall = Math.min(height, Math.max(state.shown.length, 1));
      scroller.style.minHeight = `${(tall + 1) * ROW + 2}px`;
      draw();
    }

    /** Heights of opened rows, by their place in the order. */
    function opened() {
      const places = [];
      if (state.open.size > 0) state.shown.forEach((row, at) => state.open.has(row) && places.push([at, state.open.get(row).height]));
      return places;
    }

    const topOf = (at, places) => at * ROW + places.reduce((sum, [place, tall]) => sum + (place < at ? tall : 0), 0);

    function draw() {
      const places = opened();
      // What is opened gets some more room.
      scroller.style.maxHeight = `${(height + 1 + (places.length > 0 ? 12 : 0)) * ROW + 2}px`;
      body.style.height = `${topOf(state.shown.length, places)}px`;
      const from = scroller.scrollTop;
      const to = from + Math.max(scroller.clientHeight, height * ROW) + ROW;
      const before = state.lines;
      state.lines = new Map();
      let first = Math.max(0, Math.floor(from / ROW) - 2 - Math.ceil(places.reduce((sum, [, tall]) => sum + tall, 0) / ROW));
      while (first < state.shown.length && topOf(first + 1, places) < from - ROW) first += 1;
      for (let at = first; at < state.shown.length; at += 1) {
        const top = topOf(at, places);
        if (top > to) break;
        const row = state.shown[at];
        const known = before.get(row);
        const looks = `${at} ${top} ${at === state.mark} ${state.open.has(row)}`;
        state.lines.set(row, known?.looks === looks ? known : { looks, element: line(at, top) });
      }
      for (const [row, { element }] of before) if (state.lines.get(row)?.element !== element) element.remove();
      // What stays is not touched: it may be just about to be clicked.
      let next = body.firstChild;
      for (const { element } of state.lines.values()) {
        if (element === next) next = next.nextSibling;
        else body.insertBefore(element, next);
      }
      const marked = state.mark < 0 ? null : `${id}-row-${state.mark}`;
      if (marked) scroller.setAttribute("aria-activedescendant", marked);
      else scroller.removeAttribute("aria-activedescendant");
    }

    function line(at, top) {
      const row = state.shown[at];
      const open = state.open.get(row);
      const cells = columns.map((column) => {
        const kind = column.left ? " left" : column.value(row) === 0 ? " zero" : "";
        return make("div", { class: `cell${kind}`, role: "gridcell" }, column.cell ? column.cell(row) : column.text(row));
      });
      const figures = make("div", { class: "row" }, cells);
      figures.style.gridTemplateColumns = template;
      const whole = make("div", {
        class: `line${at === state.mark ? " marked" : ""}${more ? " opens" : ""}`, role: "row", id: `${id}-row-${at}`,
        "aria-rowindex": String(at + 2), "aria-selected": String(at === state.mark), "aria-expanded": more ? String(Boolean(open)) : undefined,
        onclick: (event) => event.target.closest(".more") || toggle(at),
      }, figures, open?.element);
      whole.style.top = `${top}px`;
      return whole;
    }

    function toggle(at) {
      state.mark = at;
      if (more) {
        const row = state.shown[at];
        if (state.open.delete(row)) draw();
        else {
          const element = make("div", { class: "more" }, more(row));
          state.open.set(row, { element, height: 0 });
          draw();
          state.open.get(row).height = element.offsetHeight;
        }
      }
      draw();
    }

    function move(to) {
      if (state.shown.length === 0) return;
      state.mark = Math.min(Math.max(to, 0), state.shown.length - 1);
      const top = topOf(state.mark, opened());
      const room = scroller.clientHeight - ROW;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + ROW > scroller.scrollTop + room) scroller.scrollTop = top + ROW - room;
      draw();
    }

    scroller.addEventListener("keydown", (event) => {
      if (event.target !== scroller || event.ctrlKey || event.metaKey || event.altKey) return;
      const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: height, PageUp: -height };
      if (moves[event.key]) move(state.mark + moves[event.key]);
      else if (event.key === "Home") move(0);
      else if (event.key === "End") move(state.shown.length - 1);
      else if ((event.key === "Enter" || event.key === " ") && state.mark >= 0) toggle(state.mark);
      else return;
      event.preventDefault();
    });
    scroller.addEventListener("scroll", draw);
    arrange();

    return {
      filter(keep) { state.keep = keep; arrange(); },
      sortBy(key) { state.order = key; state.down = true; arrange(); },
      /** Other rows, or the same with other figures; what was opened is closed. */
      rows(next, order) {
        rows = next;
        // An order that is asked for holds until none is; then the one before it comes back, unless the reader chose.
        if (order && state.order !== order) [state.before, state.order] = [state.before ?? state.order, order];
        else if (!order && state.before) [state.before, state.order] = [undefined, state.before];
        state.open.clear();
        state.lines.forEach(({ element }) => element.remove());
        state.lines.clear();
        arrange();
      },
    };
  }

  return { show };
})();
