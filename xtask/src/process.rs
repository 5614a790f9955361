//! What a child used of processors.

use std::time::Duration;

/// Waits for the end of a child without taking it away, and reads what it and the processes that it waited for have
/// used of processors; nothing where the system does not say.
#[cfg(target_os = "linux")]
pub fn ended_cpu(id: u32) -> Option<Duration> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    let pid = Pid::from_raw(i32::try_from(id).ok()?)?;
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

#[cfg(not(target_os = "linux"))]
pub fn ended_cpu(_id: u32) -> Option<Duration> {
    None
}

/// User and system time of a process and of its children, in clock ticks: fields 14 to 17 of `/proc/PID/stat`.
#[cfg(target_os = "linux")]
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, and may hold anything.
    let fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(4);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_the_sum_of_four_fields() {
        let stat = "42 (a) b) Z 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0";
        assert_eq!(ticks(stat), Some(127));
        assert_eq!(ticks("42 (a) Z 1 2"), None);
        let own = std::fs::read_to_string("/proc/self/stat").expect("of this process");
        assert!(ticks(&own).is_some());
    }
}
