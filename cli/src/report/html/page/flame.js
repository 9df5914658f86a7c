// The layout of the flame graph: which rectangles there are, without drawing them.
//
// A rectangle stands for a function under given callers, and holds the nodes of the tree that it is made of: calls of
// one function from several lines are one rectangle. Nothing is laid out that would be narrower than half a pixel, so
// the work depends on the width of the page and not on the size of the tree.
//
// Two directions: from the callers down to what they call, or from the functions that allocate down to who calls them.

const flame = (() => {
  const NARROWEST = 0.5;

  /** A layout: rectangles by row, and what they are parts of. */
  function layout(tree, sites, key, direction, zoom, width) {
    const grow = direction === "callers" ? downwards(tree, key) : upwards(tree, sites, key);
    let top = grow.root();
    const above = [top];
    for (const name of zoom) {
      const next = grow.children(top).find((child) => child.name === name);
      if (!next) break;
      top = next;
      above.push(top);
    }
    const whole = top.value;
    const rows = [];
    above.forEach((item, depth) => rows.push([place(item, depth, 0, 1, rows[depth - 1]?.[0], 0)]));
    if (whole > 0) fill(rows, grow, rows[rows.length - 1][0], NARROWEST / Math.max(width, 1));
    const kept = above.slice(1).map((item) => item.name);
    return { rows, total: above[0].value, whole, zoom: kept };
  }

  function place(item, depth, left, wide, parent, index) {
    return { ...item, depth, left, wide, parent, index };
  }

  function fill(rows, grow, first, narrowest) {
    const waiting = [first];
    const whole = first.value;
    while (waiting.length > 0) {
      const parent = waiting.pop();
      let left = parent.left;
      const added = [];
      for (const child of grow.children(parent)) {
        const wide = child.value / whole;
        if (wide < narrowest) break;
        const row = (rows[parent.depth + 1] ??= []);
        const rectangle = place(child, parent.depth + 1, left, wide, parent, row.length);
        row.push(rectangle);
        added.push(rectangle);
        left += wide;
      }
      // The leftmost is taken next, so that each row is in order.
      waiting.push(...added.reverse());
    }
  }

  /** Groups by name, largest first, so that the first narrow one ends a row. */
  function ordered(groups) {
    return [...groups.values()].sort((a, b) => b.value - a.value || a.name - b.name);
  }

  function downwards(tree, key) {
    const sums = tree.weights(key);
    const selves = tree.selves(key);
    const root = () => ({ name: -1, value: sums[0], self: selves[0], nodes: [0] });
    function children(item) {
      const groups = new Map();
      for (const node of item.nodes) {
        const end = node + tree.span[node];
        for (let child = node + 1; child < end; child += tree.span[child]) {
          if (!(sums[child] > 0)) continue;
          const name = tree.nameOf(child);
          const group = groups.get(name);
          if (group) {
            group.value += sums[child];
            group.self += selves[child];
            group.nodes.push(child);
          } else groups.set(name, { name, value: sums[child], self: selves[child], nodes: [child] });
        }
      }
      return ordered(groups);
    }
    return { root, children };
  }

  /** Here an item holds pairs: a node on the way up, and the sites' nodes whose figure comes along. */
  function upwards(tree, sites, key) {
    const selves = tree.selves(key);
    const ends = new Set(sites.node);
    function root() {
      const starts = [...ends].filter((node) => selves[node] > 0);
      const value = starts.reduce((sum, node) => sum + selves[node], 0);
      return { name: -1, value, self: 0, nodes: starts, from: starts, isRoot: true };
    }
    function children(item) {
      const groups = new Map();
      item.nodes.forEach((node, at) => {
        const next = item.isRoot ? node : node - tree.up[node];
        if (next === 0) return;
        const name = tree.nameOf(next);
        const value = selves[item.from[at]];
        let group = groups.get(name);
        if (!group) groups.set(name, (group = { name, value: 0, self: 0, nodes: [], from: [] }));
        group.value += value;
        group.nodes.push(next);
        group.from.push(item.from[at]);
      });
      return ordered(groups).map((group) => ({ ...group, self: item.isRoot ? group.value : 0 }));
    }
    return { root, children };
  }

  /** How much of a rectangle's figure has a function with a matching name on its stack. */
  function matched(tree, key, rectangle, matches) {
    const selves = tree.selves(key);
    const found = tree.below(matches, false);
    let sum = 0;
    if (rectangle.from) {
      for (const node of rectangle.from) if (found[node]) sum += selves[node];
      return sum;
    }
    for (const top of rectangle.nodes) {
      for (let node = top; node < top + tree.span[top]; node += 1) if (found[node]) sum += selves[node];
    }
    return sum;
  }

  return { layout, matched };
})();
