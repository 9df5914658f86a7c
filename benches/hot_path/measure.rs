//! Processor time as a measurement for criterion.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

use crate::common::clock::process_cpu_ns;

/// Processor time of the whole process, including the background thread.
pub struct ProcessCpu;

impl Measurement for ProcessCpu {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        process_cpu_ns()
    }

    fn end(&self, start: u64) -> u64 {
        process_cpu_ns() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (unit, scale) = match typical {
            typical if typical < 1e3 => ("ns of CPU", 1.0),
            typical if typical < 1e6 => ("µs of CPU", 1e3),
            _ => ("ms of CPU", 1e6),
        };
        values.iter_mut().for_each(|value| *value /= scale);
        unit
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let (count, unit, scale) = match *throughput {
            Throughput::Elements(count) => (count, "M/s", 1e6),
            Throughput::Bytes(count) | Throughput::BytesDecimal(count) => (count, "MB/s", 1e6),
            _ => (1, "/s", 1.0),
        };
        values.iter_mut().for_each(|value| *value = count as f64 * 1e9 / *value / scale);
        unit
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}
