//! Metrics of the process, with the names that Prometheus clients of all languages use.

use std::fmt;

use procfs::WithCurrentSystemInfo as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::{counter, gauge};

/// Read from `/proc/self` at each scrape. Values that cannot be read are left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(process) = procfs::process::Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let ticks = to_f64(stat.utime + stat.stime) / to_f64(procfs::ticks_per_second());
            let cpu = ("process_cpu", "Processor time used", Some(&Unit::Seconds));
            counter(&mut encoder, cpu, ticks)?;
            let resident = ("process_resident_memory", "Memory in RAM", Some(&Unit::Bytes));
            gauge(&mut encoder, resident, to_f64(stat.rss_bytes().get()))?;
            let virtual_memory = ("process_virtual_memory", "Memory addressed", Some(&Unit::Bytes));
            gauge(&mut encoder, virtual_memory, to_f64(stat.vsize))?;
            let threads = ("process_threads", "Threads of the operating system", None);
            gauge(&mut encoder, threads, to_f64(stat.num_threads.unsigned_abs()))?;
            if let Ok(boot) = procfs::boot_time_secs() {
                let started = to_f64(boot) + to_f64(stat.starttime) / to_f64(procfs::ticks_per_second());
                let start = ("process_start_time", "Start, since the Unix epoch", Some(&Unit::Seconds));
                gauge(&mut encoder, start, started)?;
            }
        }
        if let Ok(open) = process.fd_count() {
            gauge(&mut encoder, ("process_open_fds", "Open file descriptors", None), to_f64(open as u64))?;
        }
        if let Ok(procfs::process::LimitValue::Value(most)) =
            process.limits().map(|limits| limits.max_open_files.soft_limit)
        {
            gauge(&mut encoder, ("process_max_fds", "Most open file descriptors", None), to_f64(most))?;
        }
        Ok(())
    }
}

/// Exact up to 2⁵³, which none of these values reaches.
#[expect(clippy::cast_precision_loss, reason = "no number here comes near 2^53")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}
