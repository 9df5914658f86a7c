// The tree of calls, as `src/report/html/tree.rs` packs it: nodes in preorder, each with the distance to its parent and
// the number of its frame. A subtree is a run of numbers, so sums over it are single passes over flat arrays. Node 0
// is the root and has no frame.

const calls = (() => {
  /** Kinds of frames. */
  const PROGRAM = 0;
  const LIBRARY = 1;
  const MARKER = 3;
  const DEPENDENCY = 4;
  const SCOPE = 5;

  function open(packed, sites) {
    const size = packed.up.length;
    const up = Uint32Array.from(packed.up);
    const frame = Uint32Array.from(packed.frames);
    const names = Uint32Array.from(packed.names);
    const span = new Uint32Array(size).fill(1);
    for (let node = size - 1; node > 0; node -= 1) span[node - up[node]] += span[node];
    const sums = new Map();
    const own = new Map();

    const nameOf = (node) => names[frame[node]];
    const text = (name) => packed.strings[name];
    const shorts = new Map(packed.names.map((name, number) => [name, packed.shorts[number]]));
    /** A name without the arguments of generics. */
    const short = (name) => packed.strings[shorts.get(name) ?? name];

    /** Of each node: the sum of a figure over all sites at or below it. */
    function weights(key) {
      if (!sums.has(key)) {
        const sum = Float64Array.from(selves(key));
        for (let node = size - 1; node > 0; node -= 1) sum[node - up[node]] += sum[node];
        sums.set(key, sum);
      }
      return sums.get(key);
    }

    /** Of each node: the figure of the sites whose innermost frame it is. */
    function selves(key) {
      if (!own.has(key)) {
        const sum = new Float64Array(size);
        sites[key].forEach((value, site) => { sum[sites.node[site]] += value; });
        own.set(key, sum);
      }
      return own.get(key);
    }

    /** The frames of a node, innermost first. */
    function stack(node) {
      const frames = [];
      for (let at = node; at !== 0; at -= up[at]) frames.push(describe(frame[at]));
      return frames;
    }

    function describe(number) {
      const file = packed.strings[packed.files[number]];
      const line = packed.lines[number];
      const place = file && line ? `${file}:${line}` : file;
      return { name: text(names[number]), short: short(names[number]), place, kind: packed.kinds[number] };
    }

    let places;
    /** The node that a stack with this end is called by: its innermost of the program, else of a dependency, else the end. */
    function place(end) {
      if (!places) {
        const [own, other] = [new Uint32Array(size), new Uint32Array(size)];
        places = new Uint32Array(size);
        for (let node = 1; node < size; node += 1) {
          const kind = packed.kinds[frame[node]];
          const parent = node - up[node];
          own[node] = kind === PROGRAM ? node : own[parent];
          other[node] = kind === DEPENDENCY ? node : other[parent];
          places[node] = own[node] || other[node] || node;
        }
      }
      return places[end];
    }

    /** What a site is called: its innermost frame that is the program's, else a dependency's, and what that called. */
    function title(node) {
      let inner;
      let dependency;
      for (let at = node; at !== 0; at -= up[at]) {
        const kind = packed.kinds[frame[at]];
        const here = { main: describe(frame[at]), called: inner };
        if (kind === PROGRAM) return here;
        if (kind === DEPENDENCY) dependency ??= here;
        inner = here.main;
      }
      return dependency ?? { main: node === 0 ? undefined : describe(frame[node]) };
    }

    /** The names on the way from the root to a node. */
    function path(node) {
      const found = [];
      for (let at = node; at !== 0; at -= up[at]) found.push(nameOf(at));
      return found.reverse();
    }

    /** Of each name: 1 if it matches. A text between slashes is a regular expression; one that is none matches nothing. */
    function matching(wanted) {
      const test = tester(wanted);
      return Uint8Array.from(packed.strings, (name) => (test(name) ? 1 : 0));
    }

    /** Of each node: 1 if a name on its stack matches, or a file where files count too. */
    function below(matches, withFiles) {
      const found = new Uint8Array(size);
      for (let node = 1; node < size; node += 1) {
        const number = frame[node];
        found[node] = found[node - up[node]] | matches[names[number]] | (withFiles ? matches[packed.files[number]] : 0);
      }
      return found;
    }

    return { size, up, frame, span, names, packed, nameOf, text, short, weights, selves, stack, describe, title, path, matching, below, place };
  }

  /**
   * The same tree with each run of library functions as the one that the program called, and without what is above the
   * program's first function: the start of the program or thread, and the runtime that calls it. Scopes stay. Returns the
   * tree, what the end of a stack became, and the sites that go with it.
   */
  function fold(packed, sites) {
    const size = packed.up.length;
    const kind = (node) => packed.kinds[packed.frames[node]];
    // What each node is shown as, by its number in the whole tree; 0 if nothing is left of it.
    const became = new Uint32Array(size);
    const under = new Uint32Array(size);
    // Where the program's first function hangs: the root, or a scope or marker above it.
    const base = new Uint32Array(size);
    const isBelowProgram = new Uint8Array(size);
    for (let node = 1; node < size; node += 1) {
      const parent = node - packed.up[node];
      const is = kind(node);
      base[node] = base[parent];
      isBelowProgram[node] = isBelowProgram[parent];
      under[node] = became[parent];
      const isOuter = parent === 0 || kind(parent) === SCOPE;
      if (is === LIBRARY && (isOuter || kind(parent) === LIBRARY)) {
        became[node] = became[parent];
        continue;
      }
      became[node] = node;
      if (is === SCOPE || is === MARKER) base[node] = node;
      else if (is === PROGRAM && !isBelowProgram[parent]) under[node] = base[parent];
      if (is === PROGRAM) isBelowProgram[node] = 1;
    }
    const [first, next] = [new Uint32Array(size), new Uint32Array(size)];
    for (let node = size - 1; node > 0; node -= 1) {
      if (became[node] !== node) continue;
      next[node] = first[under[node]];
      first[under[node]] = node;
    }
    // Numbered anew, so that each subtree is a run of numbers again.
    const [up, frames] = [[], []];
    const numbers = new Uint32Array(size);
    const waiting = [0];
    while (waiting.length > 0) {
      const node = waiting.pop();
      numbers[node] = up.length;
      up.push(node === 0 ? 0 : up.length - numbers[under[node]]);
      frames.push(packed.frames[node]);
      const children = [];
      for (let child = first[node]; child !== 0; child = next[child]) children.push(child);
      waiting.push(...children.reverse());
    }
    // A stack of library functions alone is shown as its innermost one: its figures must stand somewhere.
    const alone = new Map();
    const end = (node) => {
      if (became[node] !== 0 || node === 0) return numbers[became[node]];
      const frame = packed.frames[node];
      if (!alone.has(frame)) {
        alone.set(frame, up.length);
        up.push(up.length);
        frames.push(frame);
      }
      return alone.get(frame);
    };
    const folded = { ...sites, node: sites.node.map(end) };
    return { tree: open({ ...packed, up, frames }, folded), sites: folded, became: end };
  }

  function tester(wanted) {
    const pattern = /^\/(.+)\/$/.exec(wanted);
    if (!pattern) {
      const small = wanted.toLowerCase();
      return (name) => name.toLowerCase().includes(small);
    }
    try {
      const expression = new RegExp(pattern[1], "i");
      return (name) => expression.test(name);
    } catch {
      return () => false;
    }
  }

  return { open, fold };
})();
