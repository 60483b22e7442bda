use std::fs;

/// What the kernel says of this process; zeroes where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// Bytes of address space.
    pub(crate) address_space: u64,
    pub(crate) open_files: u64,
    /// How many files it may open.
    pub(crate) files_allowed: u64,
    /// Seconds of all its processors.
    pub(crate) cpu: f64,
    /// Unix time in seconds.
    pub(crate) started: f64,
}

/// The kernel counts processor time in hundredths of a second, whatever its own clock is.
const TICKS: f64 = 100.0;

impl Process {
    /// Bytes that this process may have at most, by what the machine has and by its control group; 0 if the kernel does
    /// not say.
    pub(crate) fn memory() -> usize {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let machine = number_after(&read("/proc/meminfo"), "MemTotal:").saturating_mul(1_024);
        let group = read("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
        usize::try_from(machine.min(group)).unwrap_or(usize::MAX)
    }

    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let (cpu, since_boot) = times(&read("/proc/self/stat"));
        Self {
            resident: number_after(&status, "VmRSS:").saturating_mul(1_024),
            address_space: number_after(&status, "VmSize:").saturating_mul(1_024),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            files_allowed: number_after(&read("/proc/self/limits"), "Max open files"),
            cpu,
            started: number_after(&read("/proc/stat"), "btime") as f64 + since_boot,
        }
    }
}

/// The first number of the line that begins with `name`.
fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Seconds of processor time, and from boot to the start. The name in front may contain anything but ends with the last
/// bracket.
fn times(stat: &str) -> (f64, f64) {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / TICKS;
    (seconds(11) + seconds(12), seconds(19))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!(times(stat), (2.0, 123.45));
        assert_eq!(times(""), (0.0, 0.0));
        assert_eq!(number_after("Name:\tx\nVmRSS:\t    12 kB\n", "VmRSS:"), 12);
        assert_eq!(
            number_after("Max open files            1024                 4096   files", "Max open files"),
            1_024
        );
        assert_eq!(number_after("Max open files            unlimited", "Max open files"), 0);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let now = Process::now();
        assert!(Process::memory() as u64 > now.resident);
        assert!(now.resident > 0 && now.address_space >= now.resident && now.open_files > 0 && now.started > 1e9);
    }
}
