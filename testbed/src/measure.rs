//! Values of the kernel about a process: memory, processor time, descriptors, threads.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The unit of processor time in `/proc`: `USER_HZ`, which is 100 on every architecture that Linux has in use.
const TICKS_PER_SECOND: u64 = 100;

/// One measurement of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Memory that is resident, in KiB: what a container's limit counts, but for the page cache.
    pub(crate) rss: u64,
    /// The most that it ever was, in KiB.
    pub(crate) peak_rss: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
    /// Those of them that are sockets.
    pub(crate) sockets: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Processor time since its start, user and system.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Of this process.
    ///
    /// # Errors
    /// When there is no such process, or this is no Linux.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}: does the process run?", path.display()))
        };
        let status = read("status")?;
        let field = |name: &str| {
            number_of(&status, name).with_context(|| format!("/proc/{pid}/status has no {name}"))
        };
        let cpu =
            processor_time(&read("stat")?).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
        let (mut descriptors, mut sockets) = (0, 0);
        let entries = fs::read_dir(directory.join("fd"))
            .with_context(|| format!("cannot list the descriptors of process {pid}"))?;
        for entry in entries {
            // One that was closed in between has no link any more.
            let Some(link) = entry.ok().and_then(|entry| fs::read_link(entry.path()).ok()) else { continue };
            descriptors += 1;
            sockets += u64::from(link.to_string_lossy().starts_with("socket:"));
        }
        Ok(Self {
            rss: field("VmRSS")?,
            peak_rss: field("VmHWM")?,
            descriptors,
            sockets,
            threads: field("Threads")?,
            cpu,
        })
    }
}

/// The number of a line `name:  number …`.
fn number_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `utime` and `stime`, fields 14 and 15. The second field is the program's name in parentheses, which may hold
/// anything.
fn processor_time(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The machine, for reports: figures mean nothing without it.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split_whitespace().take(3).collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = number_of(&memory, "MemTotal").unwrap_or_default() / 1024 / 1024;
    format!("{cores} cores, {memory} GiB, load average {}", load.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured() {
        let before = Usage::of(std::process::id()).unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.rss > 0 && after.peak_rss >= after.rss && after.threads > 0, "{after:?}");
        assert!(after.descriptors >= 2 && after.sockets >= 1, "{before:?} {after:?}");
        drop((file, socket));
        assert!(Usage::of(u32::MAX).is_err());
    }

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 7 0 100 1 1";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(processor_time("12 (a) S 1"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(number_of("VmRSSx:\t1 kB\nVmRSS:\t  2 kB\n", "VmRSS"), Some(2));
        assert_eq!(number_of("", "VmRSS"), None);
    }
}
