//! What happens to the processes of a test, and how it shows: signals, the reasons for not being ready, metrics, what was said.

use std::os::unix::process::ExitStatusExt as _;

use crate::house::Process;

impl Process {
    /// Ends it without warning, and sees that this is what ended it.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        assert_eq!(self.child.take().unwrap().wait().unwrap().signal(), Some(9), "{} ended by itself", self.name);
    }

    /// The sum over the series of a metric, or over those with this label.
    pub(crate) fn sum_of(&self, name: &str, label: &str) -> u64 {
        let metrics = self.client.get(format!("http://{}/metrics", self.ops)).send().unwrap().text().unwrap();
        let series = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
        let values = series.filter_map(|line| line.rsplit(' ').next()?.split('.').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// The lines that it said with this in it.
    pub(crate) fn has_said(&self, what: &str) -> Vec<String> {
        let said = std::fs::read_to_string(self.said()).unwrap_or_default();
        said.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    }
}
