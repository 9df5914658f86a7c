// Numbers for people, by the rules of the text report (`src/report/units.rs`): counts are never shortened, bytes have
// one decimal in the largest binary unit, durations are cut rather than rounded, and no share claims all or nothing
// falsely. Whole numbers above 2^53 have lost their last digits on the way here, and are shown with a sign for it.

const units = (() => {
  const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const NOT_AVAILABLE = "n/a";

  function count(value) {
    const sign = Math.abs(value) > Number.MAX_SAFE_INTEGER ? "≈ " : "";
    return sign + grouped.format(value);
  }

  function bytes(value) {
    const size = Math.abs(value);
    if (size < 1024) return `${count(Math.round(value))} B`;
    const names = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = 0;
    let tenths = Math.round((size * 10) / 1024);
    while (tenths >= 10240 && unit + 1 < names.length) {
      unit += 1;
      tenths = Math.round((size * 10) / 1024 ** (unit + 1));
    }
    return `${value < 0 ? "-" : ""}${Math.floor(tenths / 10)}.${tenths % 10} ${names[unit]}`;
  }

  /** Bytes with the exact count behind them. */
  function bytesExact(value) {
    return Math.abs(value) < 1024 ? bytes(value) : `${bytes(value)} (${count(value)} B)`;
  }

  function duration(ns) {
    const tenths = (unit, name) => `${Math.floor(ns / unit)}.${Math.floor(((ns % unit) * 10) / unit)} ${name}`;
    const two = (value) => String(value).padStart(2, "0");
    const seconds = Math.floor(ns / 1e9);
    if (ns < 1e3) return `${Math.floor(ns)} ns`;
    if (ns < 1e6) return tenths(1e3, "us");
    if (ns < 1e9) return tenths(1e6, "ms");
    if (seconds < 60) return tenths(1e9, "s");
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min`;
    return `${count(Math.floor(seconds / 86400))} d ${two(Math.floor(seconds / 3600) % 24)} h`;
  }

  /** Steps of an axis, in seconds. `duration` shows each of the first twelve multiples of a step without cutting it. */
  const TIME_STEPS = [
    ...Array.from({ length: 32 }, (_, at) => [1, 2, 5][at % 3] * 10 ** (Math.floor(at / 3) - 9)),
    ...[30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200],
    ...Array.from({ length: 15 }, (_, at) => 86400 * [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3)),
  ];

  function share(part, whole) {
    if (!(whole > 0)) return NOT_AVAILABLE;
    const tenths = Math.round((part * 1000) / whole);
    if (tenths === 0 && part > 0) return "<0.1 %";
    if (tenths === 1000 && part < whole) return ">99.9 %";
    return `${(tenths / 10).toFixed(1)} %`;
  }

  const rate = (perSecond) => (Number.isFinite(perSecond) ? `${count(Math.floor(perSecond))}/s` : NOT_AVAILABLE);
  const byteRate = (perSecond) => (Number.isFinite(perSecond) ? `${bytes(perSecond)}/s` : NOT_AVAILABLE);

  /** A figure in the unit of a metric. */
  const inUnit = (value, unit) => (unit === "bytes" ? bytes(value) : `${count(value)} ${value === 1 ? "block" : "blocks"}`);
  const counted = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

  return { count, bytes, bytesExact, duration, TIME_STEPS, share, rate, byteRate, inUnit, counted };
})();
